"""Tasks are split between endpoints by their speeds; none is lost and none is spoken twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.casting import Casting
from orchestrator.app.shares import shares
from orchestrator.config import EndpointSettings
from orchestrator.domain import Digest, Step, Waiting
from orchestrator.ports import Sampling
from tests.chains import order, orders, turns

SAMPLING = Sampling(temperature=0.3, seed=1, context=8192, reply_limit=700, timeout_s=180)
WORDS = ("aba", "abc", "cb", "d")


def casting(name: str, models: str) -> Casting:
    settings = EndpointSettings(backend="rehearsal")
    return Casting(name=name, settings=settings, models=dict.fromkeys(models, SAMPLING))


def split(
    waiting: Sequence[Waiting], endpoints: Mapping[str, str], **speeds: float
) -> dict[str, list[tuple[str, int, int, bool]]]:
    """By endpoint: the debate, the place in it, how many, and whether they are fresh."""
    castings = [casting(name, models) for name, models in endpoints.items()]
    found = shares(waiting, castings, orders(*WORDS), {name: speeds.get(name, 1.0) for name in endpoints})
    return {
        name: [(each.digest, order(each.digest).index(each.step), each.ready, each.fresh) for each in mine]
        for name, mine in found.items()
    }


def test_one_endpoint_takes_everything() -> None:
    found = split([turns("aba", 5), turns("abc", 2, place=1)], {"gpu": "abc"})

    assert found == {"gpu": [("aba", 0, 5, True), ("abc", 1, 2, False)]}


def test_each_endpoint_begins_with_its_step() -> None:
    found = split([turns("abc", 5)], {"one": "a", "two": "b", "three": "c"})

    assert found == {"one": [("abc", 0, 5, True)], "two": [("abc", 1, 5, False)], "three": [("abc", 2, 5, False)]}


def test_steps_that_are_past_come_no_more() -> None:
    found = split([turns("abc", 5, place=1)], {"one": "a", "two": "b", "three": "c"})

    assert found == {"one": [], "two": [("abc", 1, 5, False)], "three": [("abc", 2, 5, False)]}


@pytest.mark.parametrize(
    ("speeds", "counts"),
    [({}, (50, 50)), ({"one": 3}, (75, 25)), ({"one": 0.01}, (1, 99)), ({"one": 1, "two": 1000}, (0, 100))],
)
def test_equals_share_by_their_speeds(speeds: Mapping[str, float], counts: tuple[int, int]) -> None:
    found = split([turns("aba", 100)], {"one": "ab", "two": "ab"}, **speeds)

    expected = [[("aba", 0, count, True)] if count else [] for count in counts]
    assert list(found.values()) == expected


def test_turns_stay_at_their_home() -> None:
    waiting = [turns("aba", 9, place=2, home="two"), turns("aba", 10, place=2)]

    found = split(waiting, {"one": "ab", "two": "ab"})

    assert found == {"one": [("aba", 2, 5, False)], "two": [("aba", 2, 9, False), ("aba", 2, 5, False)]}


def test_home_that_is_gone_binds_nobody() -> None:
    found = split([turns("aba", 10, place=2, home="gone")], {"one": "ab", "two": "ab"})

    assert found == {"one": [("aba", 2, 5, False)], "two": [("aba", 2, 5, False)]}


def test_home_binds_its_own_step_only() -> None:
    found = split([turns("abc", 10, place=1, home="two")], {"one": "b", "two": "b", "three": "c", "four": "c"})

    assert {name: sum(count for _, _, count, _ in mine) for name, mine in found.items()} == {
        "one": 0,
        "two": 10,
        "three": 5,
        "four": 5,
    }


def test_turns_that_back_off_are_shared_too() -> None:
    (mine,) = shares([turns("aba", 2, later=3)], [casting("gpu", "ab")], orders("aba"), {"gpu": 1})["gpu"]

    assert (mine.ready, mine.later, mine.home) == (5, 0, "")


def test_priority_of_tasks_is_kept() -> None:
    (mine,) = shares([turns("aba", 2, priority=7)], [casting("gpu", "ab")], orders("aba"), {"gpu": 1})["gpu"]

    assert mine.priority == 7


def test_nothing_waiting_is_nothing_shared() -> None:
    assert split([], {"one": "ab", "two": "ab"}) == {"one": [], "two": []}
    assert split([turns("aba")], {"one": "ab", "two": "ab"}) == {"one": [], "two": []}
    assert split([turns("d", 5)], {"one": "ab"}) == {"one": []}


SPEED = st.floats(0.001, 1000)
ENDPOINTS = st.dictionaries(  # any number of endpoints with the same models, and others with others
    st.sampled_from(["one", "two", "three", "four", "five"]),
    st.tuples(st.sampled_from(["ab", "c", "d"]), SPEED),
    min_size=1,
)
WAITING = st.lists(
    st.builds(
        lambda word, place, ready, later, home: turns(
            word, ready, place=place % len(word), later=later, home=home if place % len(word) else ""
        ),
        st.sampled_from(WORDS),
        st.integers(0, 2),
        st.integers(0, 5000),
        st.integers(0, 5),
        st.sampled_from(["", "one", "two", "gone"]),
    ),
    max_size=6,
)


@given(WAITING, ENDPOINTS)
def test_no_turn_is_lost_or_doubled(waiting: list[Waiting], endpoints: dict[str, tuple[str, float]]) -> None:
    castings = [casting(name, models) for name, (models, _) in endpoints.items()]
    served = {model for models, _ in endpoints.values() for model in models}

    found = shares(waiting, castings, orders(*WORDS), {name: speed for name, (_, speed) in endpoints.items()})

    spoken: Counter[tuple[Digest, Step]] = Counter()
    for name, mine in found.items():
        for each in mine:
            spoken.update(steps_from(each, endpoints[name][0]))
    assert +spoken == +sum((steps_from(each, served) for each in waiting), Counter[tuple[Digest, Step]]())


def steps_from(each: Waiting, models: str | set[str]) -> Counter[tuple[Digest, Step]]:
    """All the turns with these models that follow for tasks that wait."""
    rest = order(each.digest)[order(each.digest).index(each.step) :]
    return Counter({(each.digest, step): each.ready + each.later for step in rest if step.model in models})


@given(st.integers(0, 170_000), st.lists(SPEED, min_size=1, max_size=5))
def test_share_follows_the_speed(tasks: int, speeds: list[float]) -> None:
    names = [f"gpu{number}" for number in range(len(speeds))]

    found = split([turns("aba", tasks)], dict.fromkeys(names, "ab"), **dict(zip(names, speeds, strict=True)))

    for mine, speed in zip(found.values(), speeds, strict=True):
        assert sum(count for _, _, count, _ in mine) == pytest.approx(tasks * speed / sum(speeds), abs=len(speeds) / 2)


def test_overlapping_endpoints_double_nothing() -> None:
    found = split([turns("aba", 10)], {"one": "ab", "two": "a"})

    assert sum(count for mine in found.values() for _, place, count, _ in mine if place == 0) == 10
