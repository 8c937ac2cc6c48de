"""Charges share an endpoint's time among the turns in flight, so that they add up to the time it was busy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import Backend, Role, TaskId, Turn, Usage
from orchestrator.measures import LoadRate, ModelFile, TurnRate
from orchestrator.ports import Sampling
from orchestrator.scheduler.meter import Meter, level, options

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SAMPLING = Sampling(temperature=0.3, seed=1, context=8192, reply_limit=700, timeout_s=180)
MODELS = {"a": SAMPLING, "b": SAMPLING}


class HandClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


class Desk:
    """A meter, its clock, and turns by number."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.meter = Meter(self.clock)

    def after(self, seconds: float, *, start: Sequence[int] = (), stop: Sequence[int] = ()) -> Desk:
        self.clock.seconds += seconds
        for number in stop:
            self.meter.stop(TaskId(number))
        for number in start:
            self.meter.start(TaskId(number))
        return self

    def spoke(self, *numbers: int, model: str = "a", role: Role = Role.JUDGE, usage: Usage | None = None) -> Desk:
        for number in numbers:
            self.meter.spoke(TaskId(number), turn(model, role, usage or Usage()))
        return self

    def rates(self) -> list[TurnRate]:
        return self.meter.rates("gpu", MODELS, {})[0]

    def loads(self) -> list[LoadRate]:
        return self.meter.rates("gpu", MODELS, {"a": ModelFile(digest="sha256:1")})[1]


def turn(model: str, role: Role, usage: Usage) -> Turn:
    return Turn(
        role=role,
        round=1,
        model=model,
        backend=Backend.OLLAMA,
        endpoint="gpu",
        text="",
        reply={},
        quotes=(),
        prompt_hash="",
        asks=1,
        attempt=1,
        usage=usage,
        started_at=NOON,
        finished_at=NOON,
    )


def test_turn_alone_is_charged_whole_time() -> None:
    desk = Desk().after(5, start=[1]).after(12, stop=[1]).spoke(1)

    (only,) = desk.rates()
    assert (only.turns, only.in_flight, only.seconds, only.squares) == (1, 1, 12, 144)


def test_turns_at_once_share_the_time() -> None:
    desk = Desk().after(0, start=[1, 2, 3, 4]).after(12, stop=[1, 2, 3, 4]).spoke(1, 2, 3, 4)

    (only,) = desk.rates()
    assert (only.turns, only.in_flight, only.seconds, only.squares) == (4, 4, 12, 36)


def test_overlap_is_charged_by_halves() -> None:
    desk = Desk().after(0, start=[1]).after(10, start=[2]).after(4, stop=[1]).after(20, stop=[2])
    desk.spoke(1, role=Role.ADVOCATE).spoke(2, role=Role.CRITIC)

    charged = {rate.role: (rate.seconds, rate.in_flight) for rate in desk.rates()}
    assert charged == {Role.ADVOCATE: (12, 1), Role.CRITIC: (22, 1)}


def test_turns_of_one_kind_are_summed() -> None:
    usage = Usage(prompt_tokens=100, cached_tokens=80, reply_tokens=20)
    desk = Desk()
    for number in (1, 2):
        desk.after(3, start=[number]).after(2, stop=[number]).spoke(number, usage=usage)
    desk.after(0, start=[3]).after(7, stop=[3]).spoke(3, model="b")

    (one, other) = desk.rates()
    assert (one.model, one.turns, one.seconds, one.squares) == ("a", 2, 4, 8)
    assert (one.prompt_tokens, one.cached_tokens, one.reply_tokens) == (200, 160, 40)
    assert (other.model, other.turns, other.seconds, other.prompt_tokens) == ("b", 1, 7, 0)


def test_rates_name_endpoint_and_settings() -> None:
    desk = Desk().after(0, start=[1]).after(1, stop=[1]).spoke(1)

    (only,) = desk.meter.rates("gpu", MODELS, {"a": ModelFile(digest="sha256:1")})[0]

    assert (only.endpoint, only.model_digest, only.options) == ("gpu", "sha256:1", "context=8192")
    assert desk.rates()[0].model_digest == ""
    assert options(SAMPLING) == only.options


def test_failed_turn_is_not_counted() -> None:
    desk = Desk().after(0, start=[1, 2]).after(10, stop=[1])

    desk.meter.forget(TaskId(1))
    desk.spoke(1).after(6, stop=[2]).spoke(2)

    (only,) = desk.rates()
    assert (only.turns, only.seconds) == (1, 11)


def test_given_up_turn_takes_no_share() -> None:
    desk = Desk().after(0, start=[1, 2])

    desk.meter.forget(TaskId(1))
    desk.after(8, stop=[2]).spoke(2)

    (only,) = desk.rates()
    assert (only.in_flight, only.seconds) == (1, 8)
    assert desk.meter.in_flight == 0


def test_strangers_and_short_turns_are_ignored() -> None:
    desk = Desk().spoke(1).after(5, stop=[2]).spoke(2).after(0, start=[3]).after(0, stop=[3]).spoke(3)

    assert desk.rates() == []


def test_turns_in_flight_are_counted() -> None:
    desk = Desk()

    seen = [desk.after(1, **moves).meter.in_flight for moves in ({"start": [1, 2]}, {"stop": [1]}, {"stop": [1, 2]})]

    assert seen == [2, 1, 0]


def test_loads_have_their_mean() -> None:
    desk = Desk()
    assert desk.meter.load_s() == 0

    for model, seconds in (("a", 4.0), ("b", 11.0), ("a", 6.0)):
        desk.meter.loaded(model, seconds)

    assert desk.meter.load_s() == 7
    assert [(rate.model, rate.model_digest, rate.loads, rate.seconds) for rate in desk.loads()] == [
        ("a", "sha256:1", 2, 10.0),
        ("b", "", 1, 11.0),
    ]


MOVES = st.lists(st.tuples(st.floats(0.001, 100), st.integers(0, 7)), max_size=40)


@given(MOVES)
def test_charges_add_up_to_busy_time(moves: list[tuple[float, int]]) -> None:
    desk, speaking, busy = Desk(), set[int](), 0.0

    for seconds, number in [*moves, *((1.0, number) for number in range(8))]:
        # Whoever speaks stops, whoever does not starts; the last eight moves only stop.
        busy += seconds if speaking else 0
        if number in speaking:
            desk.after(seconds, stop=[number]).spoke(number)
        else:
            desk.after(seconds, start=[number])
        speaking ^= {number}
    rest = sorted(speaking)
    desk.after(1.0, stop=rest).spoke(*rest)

    assert sum(rate.seconds for rate in desk.rates()) == pytest.approx(busy + (1.0 if rest else 0))


@given(MOVES)
def test_squares_bound_the_deviation(moves: list[tuple[float, int]]) -> None:
    desk, speaking = Desk(), set[int]()

    for seconds, number in moves:
        desk.after(seconds, **{"stop" if number in speaking else "start": [number]})
        desk.spoke(*{number} & speaking)
        speaking ^= {number}

    for rate in desk.rates():
        assert rate.squares * rate.turns >= rate.seconds**2 * (1 - 1e-9)
        assert 1 <= rate.in_flight <= 8 * 1.25


@pytest.mark.parametrize(
    ("in_flight", "rounded"),
    [
        (0.9, 1),
        (1, 1),
        (1.6, 2),
        (4.4, 4),
        (4.5, 5),
        (6.2, 6),
        (8, 7),
        (9, 9),
        (16, 15),
        (33, 36),
        (64, 69),
        (250, 265),
    ],
)
def test_levels_grow_by_quarters(in_flight: float, rounded: int) -> None:
    assert level(in_flight) == rounded


@given(st.floats(1, 4096), st.floats(1, 4096))
def test_level_is_near_and_ordered(one: float, other: float) -> None:
    assert 0.66 <= level(one) / one <= 1.34
    assert (level(one) - level(other)) * (one - other) >= 0
    assert len({level(number) for number in range(1, 4097)}) < 40
