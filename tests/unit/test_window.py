"""The window of turns in flight: its rules one by one, turn by turn; no server and no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from orchestrator.measures import Pressure
from orchestrator.scheduler.window import Heard, Window


def turn(*, lost: float = 0.0, cached: int | None = 1000, queued_s: float | None = None, total_s: float = 2.0) -> Heard:
    """A follow-up turn of a debate, of whose 1,000 tokens that could be cached so many were."""
    kept = None if cached is None else round(cached * (1 - lost))
    return Heard(
        expected=1000, prompt_tokens=1200, cached_tokens=kept, reply_tokens=150, queued_s=queued_s, total_s=total_s
    )


@dataclass
class Talk:
    """A window that hears turns one after the other, as many in flight as it allows."""

    window: Window
    now: float = 0.0
    limits: list[int] = field(default_factory=list)

    def hear(self, turns: Iterable[Heard], in_flight: int | None = None) -> int:
        """Let turns end, evenly spread over time; the limit after them."""
        for each in turns:
            self.now += each.total_s / self.window.limit
            self.window.heard(each, in_flight=in_flight or self.window.limit, now=self.now)
            self.limits.append(self.window.limit)
        return self.window.limit

    def polled(self, running: int, waiting: int, times: int = 1) -> int:
        """Let the server tell its load, once a second."""
        for _ in range(times):
            self.now += 1
            self.window.pressed(Pressure(running=running, waiting=waiting), now=self.now)
        return self.window.limit


def settled(limit: int, most: int = 512) -> Talk:
    """A window that rose until requests waited, and came down to what the server has room for."""
    talk = Talk(Window(first=limit + 8, most=most))
    talk.hear([turn()] * 24)
    talk.polled(limit, 20)
    talk.hear([turn(total_s=0.5)] * 4 * limit)
    return talk


@pytest.mark.parametrize(
    ("first", "most", "slots", "expected"),
    [(16, 512, None, 16), (16, 4, None, 4), (0, 9, None, 1), (2, 512, 8, 8), (16, 4, 8, 4), (1, 0, None, 1)],
)
def test_start_is_within_what_is_allowed(first: int, most: int, slots: int | None, expected: int) -> None:
    assert Window(first=first, most=most, slots=slots).limit == expected


def test_limit_rises_while_nothing_is_lost() -> None:
    talk = Talk(Window(first=16, most=100))
    talk.polled(16, 0)

    assert talk.hear([turn()] * 50) in range(32, 40)
    assert talk.hear([turn()] * 500) == 100
    assert talk.window.why == "the most allowed"


def test_unused_limit_does_not_rise() -> None:
    talk = Talk(Window(first=16, most=100))
    talk.polled(9, 0)

    assert talk.hear([turn()] * 500, in_flight=9) == 16


def test_lost_prefixes_lower_the_limit() -> None:
    talk = Talk(Window(first=40, most=512))
    talk.polled(40, 0)
    before = talk.hear([turn()] * 24)

    after = talk.hear([turn(lost=0.45)] * 8)

    assert after == pytest.approx(0.7 * before, abs=2)
    assert talk.window.why.startswith("cached share fell at ")
    assert int(talk.window.why.split()[-1]) >= before


def test_two_lost_prefixes_are_chance() -> None:
    talk = Talk(Window(first=40, most=512))
    talk.polled(40, 0)

    assert talk.hear(([turn()] * 22 + [turn(lost=0.45)] * 2) * 6) > 80


def test_turns_begun_before_a_fall_count_no_more() -> None:
    talk = Talk(Window(first=40, most=512))
    talk.polled(40, 0)
    talk.hear([turn()] * 24)
    fallen = talk.hear([turn(lost=0.45)] * 8)

    still_too_many = talk.hear([turn(lost=0.45)] * 30, in_flight=60)
    begun_before = talk.hear([turn(lost=0.45, total_s=9.0)] * 5)

    assert fallen == still_too_many == begun_before


def test_share_that_stays_low_becomes_usual() -> None:
    talk = Talk(Window(first=16, most=64))
    talk.polled(16, 0)

    risen = talk.hear([turn(lost=0.3)] * 2000)

    assert min(talk.limits) in range(2, 9)
    assert risen >= 16


@pytest.mark.parametrize("cached", [0, None])
def test_untold_cache_does_not_lower_the_limit(cached: int | None) -> None:
    talk = Talk(Window(first=16, most=100))
    talk.polled(16, 0)

    assert talk.hear([turn(cached=cached)] * 500) == 100


def test_turns_without_any_counts_are_borne() -> None:
    bare = Heard(expected=None, prompt_tokens=None, cached_tokens=None, reply_tokens=None, queued_s=None, total_s=1.0)
    talk = Talk(Window(first=16, most=100))

    assert talk.hear([bare] * 1000) in range(1, 101)


def test_waiting_lowers_to_what_is_served() -> None:
    talk = Talk(Window(first=100, most=512))

    assert talk.polled(64, 36) == 64
    assert talk.window.why == "requests waited at 100"


@pytest.mark.parametrize(("running", "waiting"), [(64, 0), (64, 2), (4, 1), (0, 9)])
def test_a_few_waiting_are_no_queue(running: int, waiting: int) -> None:
    assert Talk(Window(first=100, most=512)).polled(running, waiting, times=5) == 100


def test_some_waiting_count_when_they_stay() -> None:
    talk = Talk(Window(first=70, most=512))

    assert talk.polled(64, 6) == 70
    assert talk.polled(64, 0) == 70
    assert talk.polled(64, 6, times=2) == 64


def test_waiting_once_more_means_short_memory() -> None:
    talk = settled(64)
    talk.hear([turn(total_s=0.5)] * 64)

    assert talk.window.limit == 64
    assert talk.polled(64, 20) == 57


def test_queueing_finds_the_slots() -> None:
    talk = Talk(Window(first=16, most=64))

    for _ in range(40):
        talk.now += 0.5
        talk.window.heard(turn(cached=None, queued_s=6.0, total_s=8.0), in_flight=16, now=talk.now)

    assert talk.window.limit == 4
    assert talk.window.why.startswith("the server's slots at ")


def test_no_queueing_raises_the_limit() -> None:
    talk = Talk(Window(first=2, most=64))

    assert talk.hear([turn(cached=None, queued_s=0.03)] * 300) == 64


def test_refused_call_halves_the_limit() -> None:
    window = Window(first=40, most=64)

    window.refused(beside=10, now=1.0)

    assert (window.limit, window.why) == (20, "a call refused at 40")


def test_calls_refused_together_count_once() -> None:
    window = Window(first=40, most=64)

    for tenth in range(10):
        window.refused(beside=10, now=1.0 + tenth / 11)

    assert window.limit == 20


def test_after_a_refusal_no_more_than_what_runs() -> None:
    window = Window(first=40, most=64)
    window.heard(turn(total_s=3.0), in_flight=8, now=0.0)

    window.refused(beside=7, now=4.0)
    at_once = window.seats
    window.heard(turn(total_s=3.0), in_flight=7, now=6.0)
    still = window.seats
    window.heard(turn(total_s=3.0), in_flight=7, now=7.5)

    assert (at_once, still, window.seats) == (7, 7, 20)


def test_refusal_of_all_holds_nobody_back() -> None:
    window = Window(first=40, most=64)

    for beside in (2, 1, 0):
        window.refused(beside=beside, now=4.0)

    assert window.seats == 20


def test_refusals_never_end_at_nothing() -> None:
    window = Window(first=40, most=64)

    for second in range(100):
        window.refused(beside=10, now=2.0 * second)

    assert window.limit == 1


@pytest.mark.parametrize("slots", [None, 40])
def test_recovery_after_a_refusal_is_slow(slots: int | None) -> None:
    talk = Talk(Window(first=40, most=40, slots=slots))
    talk.polled(40, 0)
    talk.window.refused(beside=10, now=talk.now)

    one_round, ten_rounds = talk.hear([turn()] * 40), talk.hear([turn()] * 360)

    assert one_round in range(20, 24)
    assert ten_rounds in range(30, 38)
    assert talk.hear([turn()] * 10_000) == 40


def test_given_slots_are_the_limit() -> None:
    talk = Talk(Window(first=2, most=64, slots=4))

    assert talk.hear([turn(cached=None, queued_s=0.0)] * 300) == 4
    assert talk.window.why == "the server's slots"


def test_nudges_are_rare_and_small() -> None:
    talk = settled(100)
    talk.limits.clear()

    talk.hear([turn()] * 100 * 15)
    talk.hear([turn()] * 100 * 3)

    assert set(talk.limits) == {100, 102}
    assert talk.limits.index(102) > 100 * 12


def test_nudge_that_fails_is_repeated_later() -> None:
    talk, waits = settled(100), []
    for _ in range(3):
        before = len(talk.limits)
        while talk.hear([turn()]) <= 100:
            continue
        waits.append(len(talk.limits) - before)
        talk.polled(100, 20)

    assert waits[1] == pytest.approx(2 * waits[0], rel=0.1)
    assert waits[2] == pytest.approx(2 * waits[1], rel=0.1)


def test_nudges_grow_bold_when_all_is_new() -> None:
    talk = settled(100)
    talk.window.refused(beside=10, now=talk.now + 100)

    assert talk.hear([turn()] * 100 * 400) == 512
