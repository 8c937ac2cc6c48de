"""A run on paper makes the loads and speaks the turns that the run itself will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import Digest, Step, Waiting
from orchestrator.scheduler.fewest import Room
from orchestrator.scheduler.rehearse import Part, Spell, rehearse
from tests.chains import Night, order, orders, turns

ONE = Room(models=1)
WORDS = ("aba", "ab", "abc", "bcb", "cda", "d", "aba/2")
SIZES = (("a", 2.0), ("b", 3.0), ("c", 5.0), ("d", 8.0))
ROOMS = st.none() | st.sampled_from([ONE, Room(models=2), Room(gib=8, sizes=SIZES)])
CROWDS = st.dictionaries(st.tuples(st.sampled_from(WORDS), st.integers(0, 2)), st.integers(1, 90), max_size=4)


def part(
    models: str = "abcd", *, loaded: Sequence[str] = (), room: Room | None = ONE, wave_size: int | None = None
) -> Part:
    return Part(endpoint="gpu", models=frozenset(models), loaded=tuple(loaded), room=room, wave_size=wave_size)


def loads(spells: Sequence[Spell]) -> str:
    return "".join(spell.load for spell in spells)


def spoken(spells: Sequence[Spell]) -> Counter[tuple[Digest, Step]]:
    count: Counter[tuple[Digest, Step]] = Counter()
    for spell in spells:
        if spell.digest is not None and spell.step is not None:
            count[spell.digest, spell.step] += spell.turns
    return count


def in_short(spells: Sequence[Spell]) -> list[str]:
    """Loads as "+a", turns as "a5"."""
    return [f"+{spell.load}" if spell.step is None else f"{spell.step.model}{spell.turns}" for spell in spells]


def test_one_wave_goes_step_by_step() -> None:
    spells = rehearse(part(), orders("aba"), [turns("aba", 5)])

    assert in_short(spells) == ["+a", "a5", "+b", "b5", "+a", "a5"]


def test_next_wave_begins_with_loaded_model() -> None:
    spells = rehearse(part(wave_size=3), orders("aba"), [turns("aba", 5)])

    assert in_short(spells) == ["+a", "a3", "+b", "b3", "+a", "a3", "a2", "+b", "b2", "+a", "a2"]


@pytest.mark.parametrize("waves", [1, 2, 7])
@pytest.mark.parametrize(("word", "first", "more"), [("aba", 3, 2), ("abc", 3, 3), ("ab", 2, 2), ("a", 1, 0)])
def test_waves_cost_their_known_loads(word: str, first: int, more: int, waves: int) -> None:
    spells = rehearse(part(wave_size=64), orders(word), [turns(word, 64 * waves)])

    assert len(loads(spells)) == first + more * (waves - 1)


@pytest.mark.parametrize(
    ("word", "room", "expected"),
    [("aaa", ONE, "a"), ("ababc", ONE, "ababc"), ("abac", Room(models=2), "abc"), ("aba", None, "ab")],
)
def test_loads_are_changes_of_model(word: str, room: Room | None, expected: str) -> None:
    models = "".join(sorted(set(word)))

    assert loads(rehearse(part(models, room=room), orders(word), [turns(word, 50)])) == expected


def test_loaded_models_are_not_loaded_again() -> None:
    waiting = [turns("aba", 5)]

    assert loads(rehearse(part(loaded="a"), orders("aba"), waiting)) == "ba"
    assert loads(rehearse(part("ab", loaded="b", room=None), orders("aba"), waiting)) == "a"
    assert loads(rehearse(part("ab", loaded="ab", room=None), orders("aba"), waiting)) == ""


@pytest.mark.parametrize("room", [None, ONE])
@pytest.mark.parametrize("wave_size", [None, 64])
def test_nothing_waiting_is_nothing_done(room: Room | None, wave_size: int | None) -> None:
    assert rehearse(part(room=room, wave_size=wave_size), orders("aba"), []) == []
    assert rehearse(part("ab", room=ONE, wave_size=wave_size), orders("aba"), [turns("aba")]) == []


def test_begun_tasks_come_before_fresh() -> None:
    waiting = [turns("aba", 5), turns("aba", 2, place=2), turns("aba", 3, place=1)]

    spells = rehearse(part(loaded="a"), orders("aba"), waiting)

    assert in_short(spells) == ["a2", "a5", "+b", "b8", "+a", "a8"]


def test_urgent_tasks_are_begun_first() -> None:
    waiting = [turns("ab", 9), turns("ab", 2, priority=1), turns("cda", 3, priority=2)]

    spells = rehearse(part(wave_size=4), orders("ab", "cda"), waiting)

    first = next(spell for spell in spells if spell.step)
    assert (first.digest, first.turns) == (Digest("cda"), 3)
    assert loads(spells).startswith("cda")


def test_turns_that_back_off_are_counted() -> None:
    spells = rehearse(part(), orders("ab"), [turns("ab", 2, later=3)])

    assert spoken(spells).total() == 10


def test_others_models_are_left_to_them() -> None:
    spells = rehearse(part("ac"), orders("abcb"), [turns("abcb", 4), turns("abcb", 1, place=2)])

    assert in_short(spells) == ["+a", "a4", "+c", "c5"]


@given(CROWDS, ROOMS, st.none() | st.integers(1, 30), st.sets(st.sampled_from("abcd"), max_size=1))
def test_turns_of_tasks_add_up(
    crowd: dict[tuple[str, int], int], room: Room | None, wave_size: int | None, loaded: set[str]
) -> None:
    waiting: list[Waiting] = []
    expected: Counter[tuple[Digest, Step]] = Counter()
    for (word, seed), count in crowd.items():
        place = seed % len(order(word))
        waiting.append(turns(word, count, place=place, priority=seed))
        expected.update({(Digest(word), step): count for step in order(word)[place:]})

    spells = rehearse(part(loaded=sorted(loaded), room=room, wave_size=wave_size), orders(*WORDS), waiting)

    assert spoken(spells) == expected


@given(CROWDS, ROOMS.filter(bool), st.none() | st.integers(1, 15), st.integers(0, 9))
def test_loads_are_those_of_night(
    crowd: dict[tuple[str, int], int], room: Room, wave_size: int | None, seed: int
) -> None:
    places = {(word, place % len(order(word)), 0): count for (word, place), count in crowd.items()}
    waiting = [turns(word, count, place=place) for (word, place, _), count in places.items()]

    kept = Night(room=room, wave_size=wave_size, chance=Random(seed), left=Counter(places)).go()

    assert list(loads(rehearse(part(room=room, wave_size=wave_size), orders(*WORDS), waiting))) == kept.loads


def test_urgent_tasks_change_no_loads() -> None:
    left = Counter({("ad/1", 0, 0): 67, ("bb/0", 0, 2): 137, ("ad/1", 0, 2): 68, ("dbaca/2", 0, 1): 62})
    waiting = [turns(word, count, place=place, priority=priority) for (word, place, priority), count in left.items()]

    spells = rehearse(part(wave_size=2), orders("ad/1", "bb/0", "dbaca/2"), waiting)

    kept = Night(room=ONE, wave_size=2, chance=Random(0), left=Counter(left)).go()
    assert len(loads(spells)) == len(kept.loads)
