"""A forecast is a sum of charges and loads, with an interval and the moments of the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import Digest, Role
from orchestrator.measures import TurnRate
from orchestrator.scheduler.forecast import (
    RUN_SPREAD,
    Charge,
    Costs,
    Forecast,
    Z,
    charges,
    forecast,
    length,
    wave_size,
)
from orchestrator.scheduler.rehearse import Spell
from tests.chains import order

WORD = Digest("aba")
ADVOCATE, CRITIC, JUDGE = order(WORD)


def charge(seconds: float, *, deviation: float = 0, turns: int = 100, spread: float = 0, work: float = 10) -> Charge:
    return Charge(seconds=seconds, deviation=deviation, turns=turns, spread=spread, work=work)


def costs(
    advocate: Charge | None = None,
    critic: Charge | None = None,
    judge: Charge | None = None,
    in_flight: int = 1,
    loads: Mapping[str, float] | None = None,
) -> Costs:
    """Two, three and one second a turn, and ten or twenty a load, unless said otherwise."""
    return Costs(
        charges={
            ("a", Role.ADVOCATE): advocate or charge(2),
            ("b", Role.CRITIC): critic or charge(3),
            ("a", Role.JUDGE): judge or charge(1),
        },
        loads={"a": 10.0, "b": 20.0} if loads is None else loads,
        in_flight=in_flight,
    )


def wave(tasks: int, first: str = "a") -> list[Spell]:
    """What a wave does; the model that the advocate needs may be loaded already."""
    said = [Spell(digest=WORD, step=step, turns=tasks) for step in (ADVOCATE, CRITIC, JUDGE)]
    loads = [Spell(load=model) for model in (first, "b", "a")]
    spells = [spell for pair in zip(loads, said, strict=True) for spell in pair]
    return spells if first else spells[1:]


def told(spells: Sequence[Spell], known: Costs, *, depth: bool = False, **lengths: float) -> Forecast:
    scaled = {(WORD, Role(role)): tokens for role, tokens in lengths.items()}
    found = forecast(spells, known, scaled, depth=depth)
    assert found is not None
    return found


def rate(in_flight: int, turns: int, seconds: float, squares: float = 0, model: str = "a") -> TurnRate:
    return TurnRate(
        endpoint="gpu",
        model=model,
        model_digest="",
        options="",
        role=Role.JUDGE,
        in_flight=in_flight,
        turns=turns,
        seconds=seconds,
        squares=squares,
        prompt_tokens=200 * turns,
        cached_tokens=0,
        reply_tokens=30 * turns,
    )


def test_seconds_are_sum_of_parts() -> None:
    found = told(wave(5), costs())

    assert found.seconds == 10 + 5 * 2 + 20 + 5 * 3 + 10 + 5 * 1
    assert (found.low, found.high) == (found.seconds, found.seconds)


def test_nothing_to_do_takes_nothing() -> None:
    found = told([], costs())

    assert (found.seconds, found.low, found.high, found.first_verdict) == (0, 0, 0, None)
    assert found.by(60) == 0


def test_interval_grows_with_both_errors() -> None:
    known = costs(advocate=charge(2, deviation=3, turns=50))

    found = told([Spell(digest=WORD, step=ADVOCATE, turns=100)], known)

    # The turns to come differ by themselves, and the mean of those measured may be off.
    width = Z * math.sqrt(3**2 * 100 + (3 * 100) ** 2 / 50)
    assert found.low == pytest.approx(200 - width)
    assert found.high == pytest.approx(200 + width)


def test_spread_of_runs_is_shared() -> None:
    known = costs(advocate=charge(2, spread=0.1), critic=charge(3, spread=0.2))

    found = told(wave(10), known)

    assert found.high - found.seconds == pytest.approx(Z * (10 * 2 * 0.1 + 10 * 3 * 0.2))


def test_interval_never_begins_before_zero() -> None:
    found = told([Spell(digest=WORD, step=ADVOCATE, turns=1)], costs(advocate=charge(2, deviation=50)))

    assert found.low == 0
    assert found.high > 80


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.booleans())
def test_seconds_lie_within_the_interval(tasks: list[int], depth: bool) -> None:
    known = costs(advocate=charge(2, deviation=1, spread=0.05), critic=charge(3, deviation=2, spread=0.05))

    found = told([spell for count in tasks for spell in wave(count)], known, depth=depth)

    assert found.low < found.seconds < found.high
    assert found.verdicts[-1] == (found.seconds, sum(tasks))
    assert list(found.verdicts) == sorted(found.verdicts)


@pytest.mark.parametrize(("in_flight", "turns"), [(1, 1), (2, 2), (8, 8), (16, 8)])
def test_first_verdict_follows_one_round(in_flight: int, turns: int) -> None:
    found = told([*wave(8), *wave(8, first="")], costs(in_flight=in_flight))

    assert found.first_verdict == 10 + 8 * 2 + 20 + 8 * 3 + 10 + turns * 1


@pytest.mark.parametrize(("in_flight", "tasks"), [(1, 1), (4, 4), (16, 10)])
def test_depth_ends_first_tasks_early(in_flight: int, tasks: int) -> None:
    found = told(wave(10), costs(in_flight=in_flight), depth=True)

    assert found.seconds == told(wave(10), costs()).seconds
    assert found.first_verdict == pytest.approx(found.seconds * tasks / 10)


@pytest.mark.parametrize("depth", [False, True])
def test_run_without_judges_has_no_verdict(depth: bool) -> None:
    found = told(wave(10)[:4], costs(), depth=depth)

    assert found.first_verdict is None
    assert found.by(10_000) == 0


@pytest.mark.parametrize(
    ("seconds", "verdicts"),
    [(0, 0), (90, 0), (90.5, 0), (91, 1), (94.6, 4), (100, 10), (180, 10), (185, 15), (190, 20), (1e6, 20)],
)
def test_verdicts_come_evenly_within_spell(seconds: float, verdicts: int) -> None:
    found = told([*wave(10), *wave(10, first="")], costs())

    assert found.by(seconds) == verdicts


@given(st.integers(1, 200), st.integers(1, 32), st.booleans())
def test_verdicts_never_grow_less(tasks: int, in_flight: int, depth: bool) -> None:
    found = told([*wave(tasks), *wave(tasks, first="")], costs(in_flight=in_flight), depth=depth)

    assert found.first_verdict is not None
    counts = [found.by(found.seconds * part / 16) for part in range(17)]
    assert counts == sorted(counts)
    assert found.by(found.first_verdict) >= 1
    assert found.by(found.first_verdict * 0.99) == 0
    assert found.by(found.seconds) == 2 * tasks


def test_missing_charge_makes_it_unknown() -> None:
    known = Costs(charges={("a", Role.ADVOCATE): charge(2)}, loads={"a": 1, "b": 1}, in_flight=1)

    assert forecast(wave(1)[:2], known, {}, depth=False) is not None
    assert forecast(wave(1)[:4], known, {}, depth=False) is None


def test_missing_load_makes_it_unknown() -> None:
    assert forecast(wave(1), costs(loads={"a": 10.0}), {}, depth=False) is None
    assert forecast([spell for spell in wave(1) if spell.step], costs(loads={}), {}, depth=False) is not None


def test_longer_turns_are_charged_more() -> None:
    known = costs(advocate=charge(2, deviation=3, turns=100, spread=0.1, work=10))
    spells = [Spell(digest=WORD, step=ADVOCATE, turns=50)]

    as_before, twice = told(spells, known, advocate=10), told(spells, known, advocate=20)

    assert as_before == told(spells, known)
    assert twice.seconds == 2 * as_before.seconds
    assert twice.high - twice.seconds == pytest.approx(2 * (as_before.high - as_before.seconds))


def test_other_debates_lengths_are_ignored() -> None:
    lengths = {(Digest("other"), Role.ADVOCATE): 1000.0}

    assert forecast(wave(5), costs(), lengths, depth=False) == told(wave(5), costs())


def test_turns_of_no_length_are_not_scaled() -> None:
    known = costs(advocate=charge(2, work=0))

    assert told(wave(5), known, advocate=20).seconds == told(wave(5), known).seconds


def test_prompt_tokens_weigh_a_twentieth() -> None:
    assert length(200, 30) == 40


TURNS = [("a", Role.ADVOCATE), ("b", Role.CRITIC), ("a", Role.JUDGE)]


@pytest.mark.parametrize(
    ("swaps", "slots", "size"),
    [(2, 1, 500), (3, 1, 750), (1, 16, 256), (2, 64, 1024)],
)
def test_wave_spends_little_on_loads(swaps: int, slots: int, size: int) -> None:
    # A load takes 15 s in the mean, a debate 6 s.
    assert wave_size(costs(), TURNS, swaps, slots) == size


@pytest.mark.parametrize(("slots", "size"), [(1, 64), (4, 64), (5, 80)])
def test_wave_without_measurements_is_fixed(slots: int, size: int) -> None:
    assert wave_size(None, TURNS, 2, slots) == size
    assert wave_size(costs(loads={}), TURNS, 2, slots) == size
    assert wave_size(costs(), [*TURNS, ("c", Role.JUDGE)], 2, slots) == size
    assert wave_size(costs(), [], 2, slots) == size


@given(st.integers(1, 5), st.integers(1, 64), st.floats(0.01, 600), st.floats(0.01, 60))
def test_loads_take_one_percent(swaps: int, slots: int, load_s: float, turn_s: float) -> None:
    known = costs(charge(turn_s), charge(turn_s), charge(turn_s), loads={"a": load_s, "b": load_s})

    size = wave_size(known, TURNS, swaps, slots)

    assert size >= 16 * slots
    assert swaps * load_s <= 0.0101 * size * 3 * turn_s


@pytest.mark.parametrize(
    ("asked", "levels"),
    [(10, [7, 9, 12, 14]), (1, [1]), (4, [3, 4, 5]), (100, [])],
)
def test_charges_come_from_near_levels(asked: int, levels: list[int]) -> None:
    rates = [(1, rate(level, turns=1, seconds=level)) for level in (1, 2, 3, 4, 5, 6, 7, 9, 12, 14, 15, 18)]

    found, in_flight = charges(rates, asked)

    assert in_flight == asked
    expected = {("a", Role.JUDGE): pytest.approx(sum(levels) / len(levels))} if levels else {}
    assert {key: each.seconds for key, each in found.items()} == expected


def test_commonest_level_is_taken_unasked() -> None:
    rates = [(1, rate(4, 100, 300)), (1, rate(16, 30, 60)), (2, rate(16, 80, 160)), (2, rate(16, 9, 9, model="b"))]

    found, in_flight = charges(rates, None)

    assert in_flight == 16
    assert {key: (each.turns, each.seconds) for key, each in found.items()} == {
        ("a", Role.JUDGE): (110, 2.0),
        ("b", Role.JUDGE): (9, 1.0),
    }


def test_level_that_got_most_done_is_taken_unasked() -> None:
    # A short run spends more turns beyond what the server's cache holds than at what it holds.
    rates = [(1, rate(56, 20, 20.0)), (1, rate(69, 20, 18.0)), (1, rate(87, 200, 300.0)), (1, rate(12, 19, 1.9))]

    found, in_flight = charges(rates, None)

    assert in_flight == 69
    assert found["a", Role.JUDGE].seconds == pytest.approx(0.95)  # of 56 and 69


def test_level_must_tell_of_every_role() -> None:
    rates = [
        (1, rate(30, 20, 40.0)),
        (1, rate(30, 20, 40.0, model="b")),
        (1, rate(60, 20, 20.0)),
        (1, rate(60, 19, 19.0, model="b")),
    ]

    assert charges(rates, None)[1] == 30


def test_no_rates_are_no_charges() -> None:
    assert charges([], None) == ({}, 1)
    assert charges([], 8) == ({}, 8)


def test_charge_has_mean_and_deviation() -> None:
    # Turns of 1, 2 and 3 s in one run, of 2 and 4 s in another.
    found, _ = charges([(1, rate(1, 3, 6, squares=14)), (2, rate(1, 2, 6, squares=20))], 1)

    only = found["a", Role.JUDGE]
    assert (only.turns, only.seconds, only.work) == (5, 2.4, length(200, 30))
    assert only.deviation == pytest.approx(math.sqrt(34 / 5 - 2.4**2))
    assert only.spread == RUN_SPREAD


def test_three_runs_show_their_spread() -> None:
    found, _ = charges([(1, rate(1, 10, 10)), (2, rate(1, 10, 20)), (3, rate(1, 5, 15)), (3, rate(1, 5, 15))], 1)

    assert found["a", Role.JUDGE].spread == pytest.approx(1 / 2)


def test_interval_does_not_depend_on_waves() -> None:
    known = costs(advocate=charge(2, deviation=3, turns=50))

    whole = told([Spell(digest=WORD, step=ADVOCATE, turns=1000)], known)
    waves = told([Spell(digest=WORD, step=ADVOCATE, turns=50)] * 20, known)

    assert waves.high == pytest.approx(whole.high)
