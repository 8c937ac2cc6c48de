"""What an endpoint does next follows from facts alone, rule by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import Digest, Waiting
from orchestrator.scheduler.fewest import Chain, Room, costs
from orchestrator.scheduler.plan import (
    Begin,
    Drain,
    Facts,
    Load,
    Rest,
    Speak,
    WaitUntil,
    chains,
    decide,
    fair_wave,
    flying,
)
from tests.chains import NOON, Night, order, orders, turns

ONE = Room(models=1)
TWO = Room(models=2)
SIZES = (("a", 2.0), ("b", 3.0), ("c", 5.0), ("d", 8.0))
WORDS = ("aba", "ab", "abc", "bcb", "cda", "d", "aba/2")


def wave(**tasks: int) -> dict[Digest, int]:
    return {Digest(word): count for word, count in tasks.items()}


def facts(
    *waiting: Waiting,
    loaded: Sequence[str] = (),
    room: Room | None = ONE,
    speaking: Sequence[Chain] = (),
    leased: int | None = None,
    may_begin: bool = True,
    wave: Mapping[Digest, int] | None = None,
    wave_size: int = 64,
    first: bool = False,
    patience_s: float = 0.0,
) -> Facts:
    return Facts(
        here="gpu",
        loaded=tuple(loaded),
        room=room,
        chains=chains(orders(*WORDS), "abcd"),
        waiting=waiting,
        speaking=tuple(speaking),
        leased=len(speaking) if leased is None else leased,
        may_begin=may_begin,
        wave=wave,
        wave_size=wave_size,
        first=first,
        patience_s=patience_s,
        now=NOON,
    )


@pytest.mark.parametrize("leased", [0, 3])
@pytest.mark.parametrize("place", [0, 2])
def test_ready_turn_of_loaded_model_is_spoken(leased: int, place: int) -> None:
    known = facts(turns("aba", 1, place=place), turns("bcb", 9), loaded="a", leased=leased)

    assert decide(known) == Speak()


def test_second_loaded_model_speaks_as_well() -> None:
    assert decide(facts(turns("bcb", 1), loaded="ab", room=TWO)) == Speak()


def test_task_of_the_wave_is_begun() -> None:
    assert decide(facts(turns("aba", 5), loaded="a", wave=wave(aba=1))) == Speak()


@pytest.mark.parametrize("room", [ONE, TWO])
@pytest.mark.parametrize("speaking", [[()], [("b",)]])
def test_wanted_swap_waits_for_speakers(room: Room, speaking: list[Chain]) -> None:
    known = facts(turns("aba", 1, place=1), loaded="a", room=room, speaking=speaking)

    assert decide(known) == Drain()


def test_swap_waits_for_other_runs_too() -> None:
    assert decide(facts(turns("aba", 1, place=1), loaded="a", leased=1)) == Drain()


def test_drained_endpoint_swaps_its_model() -> None:
    assert decide(facts(turns("aba", 1, place=1), loaded="a")) == Load(unload=("a",), load="b")


def test_empty_endpoint_loads_without_unloading() -> None:
    assert decide(facts(turns("aba", 1))) == Load(unload=(), load="a")


def test_endpoint_that_holds_all_unloads_nothing() -> None:
    assert decide(facts(turns("d", 1), loaded="abc", room=None)) == Load(unload=(), load="d")


def test_shrunken_room_is_made_again() -> None:
    assert decide(facts(turns("d", 1), loaded="cba", room=TWO)) == Load(unload=("a", "b"), load="d")


def test_room_in_gib_is_kept() -> None:
    room = Room(gib=7, sizes=SIZES)

    assert decide(facts(turns("bcb", 1), loaded="a", room=room)) == Load(unload=(), load="b")
    assert decide(facts(turns("bcb", 1, place=1), loaded="ab", room=room)) == Load(unload=("b",), load="c")


def test_fewest_loads_beat_longest_queue() -> None:
    known = facts(turns("ab", 1), turns("bcb", 900, place=2))

    assert decide(known) == Load(unload=(), load="a")


def test_longest_queue_settles_equal_loads() -> None:
    known = facts(turns("aba", 2, place=2), turns("aba/2", 2, place=2), turns("d", 3), turns("abc", 1, later=50))

    assert decide(known) == Load(unload=(), load="a")


def test_first_name_settles_equal_queues() -> None:
    waiting = [turns("d", 2), turns("abc", 2, place=2), turns("aba", 2, place=2)]

    decisions = {decide(facts(*order)) for order in (waiting, waiting[::-1])}

    assert decisions == {Load(unload=(), load="a")}


def test_model_needed_soonest_is_kept() -> None:
    known = facts(turns("bcb", 1, place=1), loaded="ab", room=TWO)

    assert decide(known) == Load(unload=("a",), load="c")


def test_models_of_next_wave_are_kept() -> None:
    last = turns("abc", 1, place=2)

    alone = decide(facts(last, loaded="ab", room=TWO, wave={}))
    followed = decide(facts(last, turns("abc", 9), loaded="ab", room=TWO, wave={}))

    assert alone == Load(unload=("a",), load="c")
    assert followed == Load(unload=("b",), load="c")


def test_urgent_turns_are_loaded_for_first() -> None:
    known = facts(turns("ab", 900), turns("bcb", 1, place=2, priority=1))

    assert decide(known) == Load(unload=(), load="b")


@pytest.mark.parametrize(("in_s", "waits"), [(5, True), (10, True), (10.1, False)])
def test_straggler_is_waited_for_within_patience(in_s: float, waits: bool) -> None:
    straggler = turns("aba", later=1, place=2, in_s=in_s)

    decision = decide(facts(turns("aba", 9, place=1), straggler, loaded="a", patience_s=10))

    straight_on = Load(unload=("a",), load="b")
    assert decision == (WaitUntil(at=NOON + timedelta(seconds=in_s)) if waits else straight_on)


@pytest.mark.parametrize(
    "straggler",
    [
        turns("cda", later=1, in_s=1, place=1),
        turns("aba", later=1, in_s=1),
        turns("aba", later=1, in_s=1, place=2, home="other"),
    ],
    ids=["other-model", "beyond-the-wave", "other-home"],
)
def test_straggler_not_worth_it_is_left(straggler: Waiting) -> None:
    known = facts(turns("aba", 9, place=1), straggler, loaded="a", patience_s=10, wave={})

    assert decide(known) == Load(unload=("a",), load="b")


def test_first_of_two_stragglers_is_awaited() -> None:
    stragglers = [turns("aba", later=2, place=2, in_s=in_s) for in_s in (7, 3)]

    decision = decide(facts(turns("aba", 9, place=1), *stragglers, loaded="a", patience_s=10))

    assert decision == WaitUntil(at=NOON + timedelta(seconds=3))


def test_wave_begins_when_one_is_finished() -> None:
    known = facts(turns("aba", 500), loaded="a", wave=wave(aba=0), wave_size=64)

    assert decide(known) == Begin(wave=wave(aba=64))


def test_wave_may_begin_with_any_model() -> None:
    assert decide(facts(turns("aba", 5), loaded="b", wave={})) == Begin(wave=wave(aba=5))


@pytest.mark.parametrize("speaking", [[()], [(), (), ()]])
def test_wave_begins_while_last_turns_fly(speaking: list[Chain]) -> None:
    known = facts(turns("aba", 500), loaded="a", wave={}, speaking=speaking)

    assert decide(known) == Begin(wave=wave(aba=64))


@pytest.mark.parametrize(
    ("loaded", "speaking", "leased"),
    [("a", [(), ("b", "a")], 2), ("a", [()], 2), ("a", [], 1), ("b", [()], 1)],
    ids=["needs-a-swap", "another-run-too", "another-run", "begins-elsewhere"],
)
def test_wave_is_held_up(loaded: str, speaking: list[Chain], leased: int) -> None:
    known = facts(turns("aba", 500), loaded=loaded, wave={}, speaking=speaking, leased=leased)

    assert decide(known) == Drain()


def test_straggler_holds_no_wave_up() -> None:
    known = facts(turns("aba", 5), turns("aba", later=1, place=1), loaded="a", wave={})

    assert decide(known) == Begin(wave=wave(aba=5))


@pytest.mark.parametrize(
    ("begun", "missing"),
    [
        ([], 10),
        ([turns("aba", 2, place=1), turns("aba", 1, later=1, place=2)], 6),
        ([turns("aba", 9, place=2, home="other")], 10),
        ([turns("aba", 30, place=1)], 0),
    ],
    ids=["nothing-begun", "half-a-wave", "begun-elsewhere", "more-than-a-wave"],
)
@pytest.mark.parametrize("loaded", ["a", "b", ""])
def test_first_wave_completes_earlier_one(begun: list[Waiting], missing: int, loaded: str) -> None:
    fresh = turns("aba", 500)

    assert decide(facts(fresh, *begun, loaded=loaded, wave={}, wave_size=10, first=True)) == Begin(
        wave=wave(aba=missing) if missing else {}
    )


def test_run_without_waves_has_no_first() -> None:
    assert decide(facts(turns("aba", 5), loaded="a", first=True)) == Speak()


@pytest.mark.parametrize("waiting", [[], [turns("aba", later=1)]])
def test_last_speakers_are_waited_for(waiting: list[Waiting]) -> None:
    assert decide(facts(*waiting, loaded="a", speaking=[()])) == Drain()


def test_first_of_delayed_turns_is_awaited() -> None:
    known = facts(turns("aba", later=1, in_s=60), turns("bcb", later=3, in_s=20), loaded="a", wave={})

    assert decide(known) == WaitUntil(at=NOON + timedelta(seconds=20))


@pytest.mark.parametrize("waves", [None, {}])
def test_nothing_left_is_rest(waves: Mapping[Digest, int] | None) -> None:
    assert decide(facts(loaded="a", wave=waves)) == Rest()
    assert decide(facts(turns("aba"), turns("bcb"), wave=waves)) == Rest()


@pytest.mark.parametrize("waves", [None, {}])
def test_unbegun_tasks_are_not_begun(waves: Mapping[Digest, int] | None) -> None:
    fresh = turns("aba", 5, later=1)

    assert decide(facts(fresh, loaded="a", may_begin=False, wave=waves)) == Rest()
    begun = decide(facts(fresh, turns("aba", 1, place=1), loaded="a", may_begin=False, wave=waves))
    assert begun == Load(unload=("a",), load="b")


@pytest.mark.parametrize(("home", "ours"), [("", True), ("gpu", True), ("other", False)])
def test_turns_at_home_elsewhere_are_theirs(home: str, ours: bool) -> None:
    now = turns("aba", 1, place=2, home=home)
    soon = turns("aba", later=1, place=2, home=home)

    assert decide(facts(now, loaded="a")) == (Speak() if ours else Rest())
    assert decide(facts(now, loaded="b")) == (Load(unload=("b",), load="a") if ours else Rest())
    assert isinstance(decide(facts(soon, loaded="a")), WaitUntil if ours else Rest)


@pytest.mark.parametrize(
    ("waiting", "size", "begun"),
    [
        ([turns("aba", 500)], 64, wave(aba=64)),
        ([turns("aba", 5)], 64, wave(aba=5)),
        ([turns("aba", 500), turns("ab", 500)], 9, wave(aba=4, ab=5)),
        ([turns("aba", 500), turns("ab", 2), turns("abc", 500)], 64, wave(aba=31, ab=2, abc=31)),
        ([turns("aba", 500), turns("ab", 3, priority=1)], 64, wave(aba=61, ab=3)),
        ([turns("aba", 500), turns("ab", 70, priority=1)], 64, wave(ab=64)),
        ([turns("aba", 500), turns("aba", 3, priority=2), turns("ab", 9, priority=1)], 10, wave(aba=3, ab=7)),
        ([turns("aba", 9), turns("ab", 9), turns("abc", 9)], 2, wave(ab=1, aba=1)),
        ([turns("aba", later=5)], 64, {}),
        ([], 64, {}),
    ],
)
def test_wave_is_shared_out_fairly(waiting: list[Waiting], size: int, begun: dict[Digest, int]) -> None:
    assert fair_wave(waiting, size) == begun


CROWD = st.dictionaries(st.sampled_from(WORDS), st.integers(1, 200), min_size=1)


@given(CROWD, st.integers(1, 300))
def test_no_digest_gets_more_than_its_share(crowd: dict[str, int], size: int) -> None:
    begun = fair_wave([turns(word, count) for word, count in crowd.items()], size)

    assert sum(begun.values()) == min(size, sum(crowd.values()))
    for word, count in crowd.items():
        mine = begun.get(Digest(word), 0)
        assert mine <= count
        assert mine == count or max(begun.values()) <= mine + 1


@given(CROWD, st.integers(0, 300))
def test_every_digest_is_in_each_wave(crowd: dict[str, int], more: int) -> None:
    begun = fair_wave([turns(word, count) for word, count in crowd.items()], len(crowd) + more)

    assert begun.keys() == crowd.keys()


@given(CROWD, CROWD, st.integers(1, 300))
def test_urgent_tasks_fill_waves_first(urgent: dict[str, int], crowd: dict[str, int], size: int) -> None:
    waiting = [turns(word, count, priority=3) for word, count in urgent.items()]
    begun = fair_wave([*(turns(word, count) for word, count in crowd.items()), *waiting], size)

    alone = fair_wave(waiting, size)
    assert all(begun[digest] >= count for digest, count in alone.items())
    assert sum(begun.values()) == min(size, sum(urgent.values()) + sum(crowd.values()))


def test_chains_leave_out_others_models() -> None:
    found = chains(orders("abcb"), {"a", "b"})

    assert list(found.values()) == [("a", "b", "b"), ("b", "b"), ("b",), ("b",)]


def test_turn_in_flight_keeps_its_rest() -> None:
    known, steps = chains(orders("abca"), "abc"), orders("abca")[Digest("abca")]

    assert flying(known, Digest("abca"), steps[0], ("a", "b")) == ("c", "a")
    assert flying(known, Digest("abca"), steps[3], ("a",)) == ()


WAITING = st.builds(
    lambda word, place, ready, later, in_s, priority, home: turns(
        word, ready, place=place % len(word.split("/")[0]), later=later, in_s=in_s, priority=priority, home=home
    ),
    st.sampled_from(WORDS),
    st.integers(0, 2),
    st.integers(0, 5),
    st.integers(0, 3),
    st.floats(0, 3600),
    st.integers(0, 1),
    st.sampled_from(["", "gpu", "other"]),
)
FACTS = st.builds(
    lambda waiting, **more: facts(*waiting, **more),
    st.lists(WAITING, max_size=8),
    loaded=st.lists(st.sampled_from("abcd"), unique=True, max_size=4),
    room=st.none() | st.sampled_from([ONE, TWO, Room(models=3), Room(gib=8, sizes=SIZES)]),
    speaking=st.lists(st.sampled_from([(), ("b",), ("c", "a")]), max_size=2),
    leased=st.none() | st.integers(2, 3),
    may_begin=st.booleans(),
    wave=st.none() | st.dictionaries(st.sampled_from(WORDS).map(Digest), st.integers(0, 9)),
    wave_size=st.integers(1, 9),
    first=st.booleans(),
    patience_s=st.sampled_from([0, 600]),
)


@given(FACTS)
def test_load_keeps_endpoints_rules(known: Facts) -> None:
    decision = decide(known)

    if isinstance(decision, Load):
        now = [*(model for model in known.loaded if model not in decision.unload), decision.load]
        assert known.leased == 0
        assert set(decision.unload) <= set(known.loaded)
        assert decision.load not in (*decision.unload, *known.loaded)
        assert known.room is None or known.room.fits(now)
        assert any(each.ready and each.home != "other" for each in known.waiting if each.model == decision.load)


@given(FACTS)
def test_each_decision_has_its_reason(known: Facts) -> None:
    decision = decide(known)

    ready = {each.model for each in known.waiting if each.ready and each.home != "other"}
    assert not isinstance(decision, Speak | Load) or ready
    assert not isinstance(decision, Speak) or ready & set(known.loaded)
    assert not isinstance(decision, Drain) or known.leased
    assert not isinstance(decision, WaitUntil | Rest) or not known.leased
    assert not isinstance(decision, Begin) or known.wave is not None
    assert not isinstance(decision, Begin) or known.first or (known.may_begin and decision.wave)


@given(FACTS)
def test_begun_wave_has_its_tasks(known: Facts) -> None:
    decision = decide(known)

    if isinstance(decision, Begin):
        fresh = [each for each in known.waiting if each.fresh and each.home != "other"]
        assert sum(decision.wave.values()) <= known.wave_size
        for digest, count in decision.wave.items():
            assert 0 < count <= sum(each.ready for each in fresh if each.digest == digest)


@given(FACTS, st.randoms())
def test_order_of_facts_changes_nothing(known: Facts, chance: Random) -> None:
    shuffled = list(known.waiting)
    chance.shuffle(shuffled)
    same = replace(known, waiting=tuple(shuffled), loaded=known.loaded[::-1], speaking=known.speaking[::-1])

    assert decide(same) == decide(known)


def night(crowd: Mapping[str, int], room: Room | None = ONE, wave_size: int | None = None, seed: int = 0) -> Night:
    left = Counter({(word, 0, 0): count for word, count in crowd.items()})
    return Night(room=room, wave_size=wave_size, chance=Random(seed), left=left).go()


@pytest.mark.parametrize("tasks", [1, 2, 7, 100, 1_000])
def test_three_loads_whatever_the_number(tasks: int) -> None:
    kept = night({"aba": tasks})

    assert kept.loads == ["a", "b", "a"]
    assert kept.spoken.total() == 3 * tasks


@pytest.mark.parametrize(
    ("word", "loads"), [("aba", lambda waves: 2 * waves + 1), ("abc", lambda waves: 3 * waves), ("aaa", lambda _: 1)]
)
@pytest.mark.parametrize("waves", [1, 2, 9])
def test_waves_cost_their_known_loads(word: str, loads: Callable[[int], int], waves: int) -> None:
    kept = night({word: 8 * waves}, wave_size=8)

    assert len(kept.waves) == waves
    assert len(kept.loads) == loads(waves)


def test_wave_begins_without_a_drain() -> None:
    kept = night({"aba": 40}, wave_size=8)

    first, *later = kept.in_flight_at_waves
    assert first == 0
    assert all(later)


CROWDS = st.dictionaries(st.sampled_from(WORDS), st.integers(1, 9), min_size=1, max_size=4)
ROOMS = st.sampled_from([ONE, TWO, Room(models=3), Room(gib=8, sizes=SIZES), Room(gib=1, sizes=SIZES)])


def least(crowd: Mapping[str, int], room: Room) -> int:
    return min(costs(frozenset(tuple(word.split("/")[0]) for word in crowd), frozenset(), room).values())


@given(CROWDS, ROOMS, st.integers(0, 9), st.none() | st.just(99))
def test_mixed_casts_take_fewest_loads(crowd: dict[str, int], room: Room, seed: int, wave_size: int | None) -> None:
    kept = night(crowd, room, wave_size=wave_size, seed=seed)

    assert len(kept.loads) == least(crowd, room)


def test_others_loaded_model_is_displaced() -> None:
    room = Room(gib=7, sizes=(("a", 2.0), ("b", 3.0)))

    decision = decide(facts(turns("ab", 1), loaded="d", room=room))

    assert decision == Load(unload=("d",), load="a")


@given(CROWDS, ROOMS | st.none(), st.none() | st.integers(1, 20), st.integers(0, 9), st.data())
def test_everything_is_spoken_once(
    crowd: dict[str, int], room: Room | None, wave_size: int | None, seed: int, data: st.DataObject
) -> None:
    begun = {word: data.draw(st.integers(0, len(order(word)) - 1)) for word in crowd}
    left = Counter({(word, begun[word], data.draw(st.integers(0, 2))): count for word, count in crowd.items()})

    kept = Night(room=room, wave_size=wave_size, chance=Random(seed), left=left).go()

    places = {(word, place) for word in crowd for place in range(begun[word], len(order(word)))}
    assert kept.spoken == Counter({(word, place): crowd[word] for word, place in places})


@given(st.text("abcd", min_size=1, max_size=7), ROOMS, st.integers(1, 5))
def test_wave_costs_what_a_single_one_does(word: str, room: Room, waves: int) -> None:
    kept = night({word: 3 * waves}, room, wave_size=3)

    assert len(kept.waves) == waves
    assert len(kept.loads) <= waves * least({word: 3}, room)
