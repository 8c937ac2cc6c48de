"""The least number of loads is what an exhaustive search over all schedules finds, and what paging theory says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from itertools import chain, combinations, groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler import fewest
from orchestrator.scheduler.fewest import Chain, Move, Room, after, costs, spoken

MODELS = "abcd"
SIZES = tuple(zip(MODELS, (2.0, 3.0, 5.0, 8.0), strict=True))

CHAIN = st.lists(st.sampled_from(MODELS), min_size=1, max_size=5).map(tuple)
CHAINS = st.lists(CHAIN, min_size=1, max_size=3)
LOADED = st.sets(st.sampled_from(MODELS), max_size=2)
COUNTED = st.integers(1, 3).map(lambda models: Room(models=models))
SIZED = st.integers(1, 18).map(lambda gib: Room(gib=float(gib), sizes=SIZES))
BOTH = st.builds(Room, models=st.integers(1, 3), gib=st.floats(1, 18), sizes=st.just(SIZES))
ROOMS = COUNTED | SIZED | BOTH


def least(chains: Collection[Chain], room: Room, loaded: Collection[str] = ()) -> int:
    """The least number of loads that the module under test finds."""
    return min(costs(frozenset(chains), frozenset(loaded), room).values(), default=0)


def subsets(models: Collection[str]) -> Iterator[frozenset[str]]:
    ordered = sorted(models)
    return map(frozenset, chain.from_iterable(combinations(ordered, count) for count in range(len(ordered) + 1)))


def by_exhaustion(chains: Collection[Chain], room: Room, loaded: Collection[str] = ()) -> int:
    """Breadth first over every schedule: any task may speak one turn or not, any model may go or come at any time."""
    models = frozenset(chain.from_iterable(chains))
    now = {(tuple(sorted(chains)), frozenset(loaded))}
    seen = set(now)
    for loads in range(64):
        while True:  # turns take no load, and neither do models that go
            free = {then for state in now for then in _freely(*state)} - seen
            if not free:
                break
            seen |= free
            now |= free
        if any(not any(left) for left, _ in now):
            return loads
        now = {(left, held | {model}) for left, held in now for model in models if room.fits(held | {model})} - seen
        seen |= now
    raise AssertionError("no schedule ends")


def _freely(left: tuple[Chain, ...], held: frozenset[str]) -> Iterator[tuple[tuple[Chain, ...], frozenset[str]]]:
    for place, rest in enumerate(left):
        if rest and rest[0] in held:
            yield tuple(sorted((*left[:place], rest[1:], *left[place + 1 :]))), held
    yield from ((left, kept) for kept in subsets(held))


def shortest_supersequence(chains: Collection[Chain]) -> int:
    """The length of the shortest sequence that has every chain in it, a model that speaks twice running once."""

    @cache
    def length(left: tuple[Chain, ...]) -> int:
        heads = {rest[0] for rest in left if rest}
        if not heads:
            return 0
        return 1 + min(length(tuple(rest[1:] if rest[:1] == (head,) else rest for rest in left)) for head in heads)

    return length(tuple(tuple(model for model, _ in groupby(models)) for models in chains))


def faults(models: Chain, room: int) -> int:
    """Belady: on a fault, the page that is needed last goes."""
    held: set[str] = set()
    count = 0
    for place, model in enumerate(models):
        if model in held:
            continue
        rest = models[place + 1 :]
        if len(held) == room:
            held.remove(max(held, key=lambda page: rest.index(page) if page in rest else len(models)))
        held.add(model)
        count += 1
    return count


@settings(max_examples=80, deadline=None)
@given(CHAINS, ROOMS, LOADED)
def test_loads_equal_those_of_exhaustion(chains: list[Chain], room: Room, loaded: set[str]) -> None:
    held = loaded if room.fits(loaded) else set[str]()

    assert least(chains, room, held) == by_exhaustion(chains, room, held)


@given(st.lists(CHAIN, min_size=1, max_size=4))
def test_room_for_one_is_supersequence(chains: list[Chain]) -> None:
    assert least(chains, Room(models=1)) == shortest_supersequence(chains)


@given(st.lists(st.sampled_from(MODELS), min_size=1, max_size=10).map(tuple), st.integers(1, 4))
def test_one_chain_is_beladys_paging(models: Chain, room: int) -> None:
    assert least([models], Room(models=room)) == faults(models, room)


@pytest.mark.parametrize("tasks", [1, 2, 1_764, 170_000])
def test_three_loads_whatever_the_number(tasks: int) -> None:
    assert least([("a", "b", "a")] * tasks, Room(models=1)) == 3


@pytest.mark.parametrize(
    ("chains", "room", "loads"),
    [
        (["aaa"], Room(models=1), 1),
        (["abc"], Room(models=1), 3),
        (["aba"], Room(models=2), 2),
        (["aba", "bab"], Room(models=1), 4),
        (["abacabad"], Room(models=2), 5),
        (["abab"], Room(gib=5, sizes=SIZES), 2),
        (["abab"], Room(gib=4.9, sizes=SIZES), 4),
        (["dad"], Room(gib=1, sizes=SIZES), 3),
        (["abcd"], Room(), 4),
    ],
)
def test_known_cases_have_known_loads(chains: list[str], room: Room, loads: int) -> None:
    assert least([tuple(models) for models in chains], room) == loads


@given(CHAINS, ROOMS, LOADED)
def test_every_move_leads_to_schedule(chains: list[Chain], room: Room, loaded: set[str]) -> None:
    held = frozenset(loaded) if room.fits(loaded) else frozenset[str]()

    for move, loads in costs(frozenset(chains), held, room).items():
        now = held - move.unload | {move.load}
        assert move.unload <= held
        assert move.load not in held
        assert room.fits(now)
        assert loads == 1 + least(spoken(spoken(chains, held), now), room, now)


@given(CHAINS, ROOMS)
def test_no_load_where_nothing_waits(chains: list[Chain], room: Room) -> None:
    assert costs(frozenset(), frozenset("a"), room) == {}
    assert costs(frozenset(chains), frozenset(MODELS), room) == {}


@pytest.mark.parametrize(
    ("models", "loaded", "rest"), [("aba", "", "aba"), ("aba", "a", "ba"), ("aba", "ab", ""), ("", "a", "")]
)
def test_loaded_models_speak_at_once(models: str, loaded: str, rest: str) -> None:
    assert after(tuple(models), set(loaded)) == tuple(rest)


def test_chains_that_end_are_gone() -> None:
    assert spoken([("a", "b"), ("a",), ("b", "a")], {"a"}) == {("b",), ("b", "a")}


@pytest.mark.parametrize(
    ("room", "models", "fits"),
    [
        (Room(models=2), "ab", True),
        (Room(models=2), "abc", False),
        (Room(gib=5, sizes=SIZES), "ab", True),
        (Room(gib=5, sizes=SIZES), "ac", False),
        (Room(gib=1, sizes=SIZES), "d", True),
        (Room(models=1, gib=99, sizes=SIZES), "ab", False),
        (Room(), "abcd", True),
    ],
)
def test_room_counts_models_and_gib(room: Room, models: str, fits: bool) -> None:
    assert room.fits(set(models)) is fits


def test_large_model_displaces_small_ones() -> None:
    known = costs(frozenset([("d",)]), frozenset("abc"), Room(gib=13, sizes=SIZES))

    assert {move.unload for move in known} == {frozenset("ab"), frozenset("c")}


def test_too_many_chains_cost_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fewest, "_MOST_STATES", 3)
    room = Room(models=1, gib=3.25)  # no other test asks for it, and so it is not remembered

    known = costs(frozenset([tuple("abcdabcd"), tuple("dcbadcba")]), frozenset(), room)

    assert known == {Move(unload=frozenset(), load="a"): 0, Move(unload=frozenset(), load="d"): 0}
