"""A call that hangs is given up long before its time-out; one that only shares its server with others never is."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain import Role, TaskId
from orchestrator.measures import TurnRate
from orchestrator.scheduler.meter import Meter
from orchestrator.scheduler.stalls import ENOUGH, FACTOR, LEAST_S, History, Taken, allowed, usual, usual_of_rates

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMIT = 700


class HandClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


def rate(turns: int, mean: float, deviation: float, in_flight: int = 1, **changes: int) -> TurnRate:
    sizes = {"prompt_tokens": 1000 * turns, "reply_tokens": 350 * turns} | changes
    return TurnRate(
        endpoint="gpu",
        model="a",
        model_digest="",
        options="context=8192",
        role=Role.JUDGE,
        in_flight=in_flight,
        turns=turns,
        seconds=mean * turns,
        squares=(mean**2 + deviation**2) * turns,
        cached_tokens=0,
        **sizes,
    )


def taken(seconds: float, charge: float | None = None, prompt_bytes: int = 4000, reply: int | None = 350) -> Taken:
    share = seconds if charge is None else charge
    return Taken(seconds=seconds, charge=share, prompt_bytes=prompt_bytes, reply_tokens=reply)


@dataclass
class Server:
    """Calls on a server whose time is simulated: `seconds(work, q)` is how long one takes with q under way.

    Every call is watched once a second as a run watches it; `given_up` are those that would not have been waited for,
    each with how long they had taken.
    """

    seconds: Callable[[float, int], float]
    chance: Random
    history: History = field(default_factory=History)
    given_up: list[tuple[bool, float]] = field(default_factory=list)
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.meter = Meter(self.clock)
        self.number = 0

    def speak(self, in_flight: Sequence[int], hangs: int | None = None) -> Server:
        """So many calls in flight, each number for as long as so many calls take; one of them may hang."""
        ends: list[tuple[float, int, float]] = []
        open_: dict[int, tuple[float, float]] = {}
        dead: set[int] = set()
        for wanted in in_flight:
            for place in range(max(40, 4 * wanted)):
                while len(open_) < wanted:
                    self.number += 1
                    self.meter.start(TaskId(self.number))
                    open_[self.number] = self.meter.mark()
                    work = self.chance.uniform(0.5, 1.5)
                    if hangs is not None and place >= hangs and not dead:
                        dead.add(self.number)
                        continue
                    heapq.heappush(ends, (self.clock.seconds + self.seconds(work, wanted), self.number, work))
                if not ends:
                    break
                at, number, work = heapq.heappop(ends)
                self._watch(open_, dead, until=at)
                began, now = open_.pop(number), self.meter.mark()
                self.meter.stop(TaskId(number))
                reply = round(350 * work)
                self.history.add(taken(now[0] - began[0], now[1] - began[1], reply=reply))
        return self

    def _watch(self, open_: dict[int, tuple[float, float]], dead: set[int], until: float) -> None:
        while self.clock.seconds < until:
            self.clock.seconds = min(until, math.floor(self.clock.seconds) + 1.0)
            now, may = self.meter.mark(), allowed([self.history.usual], 4000, LIMIT)
            for number, began in list(open_.items()) if may else []:
                seconds = now[0] - began[0]
                if may is not None and may.over(seconds, now[1] - began[1]):
                    self.given_up.append((number in dead, seconds))
                    if number in dead:
                        open_.pop(number)
                        self.meter.stop(TaskId(number))


def alone(work: float, _in_flight: int) -> float:
    """All at once, none slower for the others."""
    return 8 * work


def one_by_one(work: float, in_flight: int) -> float:
    """One slot: all others wait for it."""
    return 2 * work * in_flight


def crowded(work: float, in_flight: int) -> float:
    """A batch in which everybody slows down a little."""
    return 4 * work + 0.3 * in_flight


SERVERS = pytest.mark.parametrize("seconds", [alone, one_by_one, crowded])


@SERVERS
@pytest.mark.parametrize("in_flight", [[1], [64], [1, 64, 1, 16, 1], [64, 1, 4, 64], [4, 8, 16, 32, 64, 32, 16, 1]])
def test_number_in_flight_gives_no_call_up(seconds: Callable[[float, int], float], in_flight: list[int]) -> None:
    for seed in range(5):
        assert Server(seconds, Random(seed)).speak([*in_flight, *in_flight]).given_up == []


@SERVERS
@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_hanging_call_is_given_up(seconds: Callable[[float, int], float], in_flight: int) -> None:
    server = Server(seconds, Random(1)).speak([in_flight] * 6)
    usual_s = server.history.usual

    # A server that works on others meanwhile hangs in one call only.
    server.speak([in_flight + 1] * 40, hangs=30)

    assert [dead for dead, _ in server.given_up] == [True]
    assert usual_s is not None
    took = server.given_up[0][1]
    assert LEAST_S < took < 10 * max(LEAST_S, usual_s.seconds)


@given(
    history=st.lists(st.floats(0.01, 100.0), min_size=ENOUGH, max_size=200),
    fixed=st.floats(0.0, 10.0),
    before=st.integers(1, 256),
    after=st.integers(1, 256),
)
@settings(max_examples=300)
def test_other_number_in_flight_never_stalls_the_slowest(
    history: list[float], fixed: float, before: int, after: int
) -> None:
    # Any mixture of a part that others share and a part that they do not.
    def took(work: float, in_flight: int) -> Taken:
        seconds = fixed + work * in_flight
        return taken(seconds, seconds / in_flight)

    may = allowed([usual([took(work, before) for work in history])], 4000, LIMIT)
    slowest = took(sorted(history)[math.ceil(0.99 * len(history)) - 1], after)

    assert may is not None
    assert not may.over(slowest.seconds, slowest.charge)


def test_few_calls_give_nothing_up() -> None:
    history = History()
    for _ in range(ENOUGH - 1):
        history.add(taken(0.1))

    assert history.usual is None
    history.add(taken(0.1))
    assert history.usual is not None
    assert allowed([None, None], 4000, LIMIT) is None


def test_replies_of_unknown_length_give_nothing_up() -> None:
    assert usual([taken(1.0, reply=None)] * ENOUGH) is None


def test_longer_prompts_and_replies_may_take_longer() -> None:
    known = usual([taken(10.0)] * 100)

    usual_size, long_prompt, long_reply = (
        allowed([known], *sizes) for sizes in [(4000, 350), (40_000, 350), (4000, 3500)]
    )

    assert usual_size is not None
    assert long_prompt == long_reply
    assert usual_size.seconds == usual_size.charge == FACTOR * 10.0
    assert long_prompt is not None
    assert long_prompt.seconds == 10 * usual_size.seconds


def test_slow_call_needs_clock_and_charge() -> None:
    may = allowed([usual([taken(20.0, 5.0)] * 100)], 4000, 350)

    assert may is not None
    assert may.over(40.1, 10.1)
    assert not may.over(40.1, 9.9)
    assert not may.over(39.9, 10.1)
    assert not may.over(40.1, 10.1, patience_s=60.0)


def test_hiccup_of_a_fast_server_is_no_stall() -> None:
    may = allowed([usual([taken(0.05)] * 100)], 4000, 350)

    assert may is not None
    assert not may.over(LEAST_S, LEAST_S)
    assert may.over(LEAST_S + 1, LEAST_S + 1)


def test_earlier_runs_say_what_is_usual() -> None:
    known = usual_of_rates([rate(90, 2.0, 0.5, in_flight=4), rate(10, 6.0, 0.0, in_flight=1)])

    assert known is not None
    assert known.charge == 6.0
    assert known.seconds == pytest.approx(4 * 3.4, abs=0.2)  # 99 of 100 log-normal charges of 2 s ± 0.5 s are below 3.4
    assert (known.prompt_bytes, known.reply_tokens) == (4000.0, 350.0)


@pytest.mark.parametrize("rates", [[], [rate(ENOUGH - 1, 2.0, 0.5)], [rate(500, 2.0, 0.5, reply_tokens=0)]])
def test_too_little_of_earlier_runs_says_nothing(rates: list[TurnRate]) -> None:
    assert usual_of_rates(rates) is None


def test_whoever_allows_more_is_believed() -> None:
    slow, fast = usual([taken(50.0, 1.0)] * 100), usual([taken(10.0, 5.0)] * 100)

    may = allowed([slow, None, fast], 4000, 350)

    assert may is not None
    assert (may.seconds, may.charge, may.usual_s) == (FACTOR * 50.0, FACTOR * 5.0, 50.0)
