"""What an endpoint does next follows from facts alone, and few loads follow from it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import Digest, Waiting
from orchestrator.scheduler.plan import Decision, Drain, Facts, Load, Rest, Speak, WaitUntil, decide, ready_turns

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODELS = ("a", "b", "c", "d", "e")


def turns(
    model: str, ready: int = 0, *, later: int = 0, in_s: float = 60, fresh: bool = False, digest: str = "one"
) -> Waiting:
    next_at = NOON + timedelta(seconds=in_s) if later else None
    return Waiting(digest=Digest(digest), model=model, fresh=fresh, ready=ready, later=later, next_at=next_at)


def facts(
    *waiting: Waiting, loaded: Sequence[str] = (), holds: int | None = 1, leased: int = 0, may_begin: bool = True
) -> Facts:
    return Facts(loaded=tuple(loaded), holds=holds, waiting=waiting, leased=leased, may_begin=may_begin)


@pytest.mark.parametrize("leased", [0, 3])
def test_ready_turn_of_loaded_model_is_spoken(leased: int) -> None:
    known = facts(turns("a", 1), turns("b", 9), loaded=["a"], leased=leased)

    assert decide(known) == Speak()


def test_second_loaded_model_speaks_as_well() -> None:
    known = facts(turns("b", 1), loaded=["a", "b"], holds=2)

    assert decide(known) == Speak()


def test_wanted_swap_waits_for_speakers() -> None:
    assert decide(facts(turns("b", 1), loaded=["a"], leased=1)) == Drain()


def test_load_into_free_room_waits_too() -> None:
    assert decide(facts(turns("b", 1), loaded=["a"], holds=2, leased=1)) == Drain()


def test_drained_endpoint_swaps_its_model() -> None:
    assert decide(facts(turns("b", 1), loaded=["a"])) == Load(unload=("a",), load="b")


def test_empty_endpoint_loads_without_unloading() -> None:
    assert decide(facts(turns("a", 1))) == Load(unload=(), load="a")


def test_most_ready_turns_are_loaded_first() -> None:
    known = facts(turns("a", 2), turns("b", 3), turns("c", 1, later=50))

    assert decide(known) == Load(unload=(), load="b")


def test_turns_of_all_digests_are_added() -> None:
    known = facts(turns("a", 3), turns("b", 2), turns("b", 2, digest="two"), turns("b", 1, fresh=True))

    assert ready_turns(known) == Counter(a=3, b=5)
    assert decide(known) == Load(unload=(), load="b")


def test_tie_goes_to_first_name() -> None:
    waiting = [turns("b", 2), turns("a", 2), turns("c", 2)]

    decisions = {decide(facts(*order)) for order in (waiting, waiting[::-1])}

    assert decisions == {Load(unload=(), load="a")}


def test_room_for_two_keeps_first_loaded() -> None:
    assert decide(facts(turns("b", 1), loaded=["a"], holds=2)) == Load(unload=(), load="b")


def test_third_model_displaces_only_one() -> None:
    known = facts(turns("c", 1), loaded=["b", "a"], holds=2)

    assert decide(known) == Load(unload=("a",), load="c")


def test_shrunken_room_is_made_again() -> None:
    known = facts(turns("d", 1), loaded=["c", "b", "a"], holds=2)

    assert decide(known) == Load(unload=("a", "b"), load="d")


def test_endpoint_that_holds_all_unloads_nothing() -> None:
    known = facts(turns("e", 1), loaded=["a", "b", "c", "d"], holds=None)

    assert decide(known) == Load(unload=(), load="e")


def test_last_speakers_are_waited_for() -> None:
    assert decide(facts(loaded=["a"], leased=1)) == Drain()
    assert decide(facts(turns("a", later=1), loaded=["a"], leased=1)) == Drain()


def test_first_of_delayed_turns_is_awaited() -> None:
    known = facts(turns("a", later=1, in_s=60), turns("b", later=3, in_s=20), loaded=["a"])

    assert decide(known) == WaitUntil(at=NOON + timedelta(seconds=20))


def test_nothing_left_is_rest() -> None:
    assert decide(facts(loaded=["a"])) == Rest()
    assert decide(facts(turns("a"), turns("b"))) == Rest()


def test_unbegun_tasks_are_not_begun() -> None:
    fresh = [turns("a", 5, later=1, fresh=True)]

    assert decide(facts(*fresh, loaded=["a"], may_begin=False)) == Rest()
    assert decide(facts(*fresh, turns("b", 1), loaded=["a"], may_begin=False)) == Load(unload=("a",), load="b")
    assert decide(facts(*fresh, loaded=["a"])) == Speak()


WAITING = st.builds(
    turns,
    st.sampled_from(MODELS),
    st.integers(0, 5),
    later=st.integers(0, 3),
    in_s=st.floats(0, 3600),
    fresh=st.booleans(),
    digest=st.sampled_from(["one", "two"]),
)
FACTS = st.builds(
    Facts,
    loaded=st.lists(st.sampled_from(MODELS), unique=True, max_size=4).map(tuple),
    holds=st.none() | st.integers(1, 4),
    waiting=st.lists(WAITING, max_size=8).map(tuple),
    leased=st.integers(0, 2),
    may_begin=st.booleans(),
)


@given(FACTS)
def test_load_keeps_endpoints_rules(known: Facts) -> None:
    decision = decide(known)

    if isinstance(decision, Load):
        after = [*(model for model in known.loaded if model not in decision.unload), decision.load]
        assert known.leased == 0
        assert set(decision.unload) <= set(known.loaded)
        assert decision.load not in (*decision.unload, *known.loaded)
        assert known.holds is None or len(after) <= known.holds
        assert ready_turns(known)[decision.load] == max(ready_turns(known).values())


@given(FACTS)
def test_each_decision_has_its_reason(known: Facts) -> None:
    decision = decide(known)

    ready = +ready_turns(known)
    assert isinstance(decision, Speak) == any(model in ready for model in known.loaded)
    assert isinstance(decision, Drain) <= (known.leased > 0)
    assert isinstance(decision, WaitUntil | Rest) <= (not ready and known.leased == 0)


@given(FACTS, st.randoms())
def test_order_of_facts_changes_nothing(known: Facts, chance: Random) -> None:
    shuffled = list(known.waiting)
    chance.shuffle(shuffled)
    same = facts(
        *shuffled, loaded=known.loaded[::-1], holds=known.holds, leased=known.leased, may_begin=known.may_begin
    )

    assert decide(same) == decide(known)


def whole_night(chain: str, tasks: int, holds: int | None) -> tuple[list[str], int]:
    """Every decision carried out until rest: the models in order of loading, and the turns spoken."""
    at = Counter({0: tasks})
    loaded: tuple[str, ...] = ()
    loads: list[str] = []
    spoken = 0
    while not isinstance(decision := _decision(chain, at, loaded, holds), Rest):
        if isinstance(decision, Load):
            loaded = (*(model for model in loaded if model not in decision.unload), decision.load)
            loads.append(decision.load)
            continue
        assert isinstance(decision, Speak)
        place = min(place for place, model in enumerate(chain) if at[place] and model in loaded)
        spoken += at[place]
        at[place + 1] += at.pop(place)
    return loads, spoken


def _decision(chain: str, at: Counter[int], loaded: tuple[str, ...], holds: int | None) -> Decision:
    waiting = [turns(model, at[place], fresh=place == 0) for place, model in enumerate(chain)]
    return decide(facts(*waiting, loaded=loaded, holds=holds))


@pytest.mark.parametrize("tasks", [1, 2, 7, 100, 170_000])
def test_three_loads_whatever_the_number(tasks: int) -> None:
    loads, spoken = whole_night("aba", tasks, holds=1)

    assert loads == ["a", "b", "a"]
    assert spoken == 3 * tasks


@pytest.mark.parametrize(
    ("chain", "holds", "loads"),
    [
        ("aaa", 1, ["a"]),
        ("abc", 1, ["a", "b", "c"]),
        ("aba", 2, ["a", "b"]),
        ("aba", None, ["a", "b"]),
        ("ababc", 1, ["a", "b", "a", "b", "c"]),
        ("abac", 2, ["a", "b", "c"]),
    ],
)
def test_loads_are_changes_of_model(chain: str, holds: int | None, loads: list[str]) -> None:
    assert whole_night(chain, 50, holds) == (loads, 50 * len(chain))
