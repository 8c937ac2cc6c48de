"""What follows from a failed attempt: again or not, when, and at whose cost."""

from __future__ import annotations

import random
from typing import Any

import pytest

from orchestrator.domain import Attempt, Role, Step, TaskId
from orchestrator.errors import ErrorClass, Guard, gist
from orchestrator.scheduler.repeats import Repeats
from orchestrator.scheduler.retry import ANSWERS, Decision, decide
from tests.store_rows import at

GIVEN_UP = Decision(delay_s=None)
COUNTED = [kind for kind in ErrorClass if ANSWERS[kind].counted]


def again(delay_s: float) -> Decision:
    return Decision(delay_s=delay_s)


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        (ErrorClass.TRANSIENT, again(1.0), GIVEN_UP),
        (ErrorClass.LOST, again(0.0), GIVEN_UP),
        (ErrorClass.SHAPE, again(0.0), GIVEN_UP),
        (ErrorClass.REFUSAL, again(0.0), GIVEN_UP),
        (ErrorClass.OVERFLOW, GIVEN_UP, GIVEN_UP),
        (ErrorClass.DETERMINISTIC, GIVEN_UP, GIVEN_UP),
        (ErrorClass.CAPACITY, *[Decision(delay_s=delay, counted=False, crowded=True) for delay in (5.0, 60.0)]),
        (ErrorClass.CONFIGURATION, *[Decision(delay_s=0.0, counted=False, stop=True)] * 2),
        (ErrorClass.CANCELLED, *[Decision(delay_s=0.0, counted=False)] * 2),
    ],
)
def test_each_class_has_its_decision(kind: ErrorClass, first: Decision, last: Decision) -> None:
    assert decide(kind, 1, 5) == first
    assert decide(kind, 5, 5) == last


def test_every_class_has_an_answer() -> None:
    assert list(ANSWERS) == list(ErrorClass)
    assert all(answer.happens and answer.mend for answer in ANSWERS.values())


@pytest.mark.parametrize("kind", ErrorClass)
def test_no_counted_class_goes_on_forever(kind: ErrorClass) -> None:
    decision = decide(kind, 100, 100)

    assert decision.delay_s is None or not decision.counted


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (99, 60)])
def test_delay_doubles_up_to_a_minute(attempt: int, delay_s: float) -> None:
    assert decide(ErrorClass.TRANSIENT, attempt, 100) == again(delay_s)


@pytest.mark.parametrize("attempt", [1, 3, 9])
def test_chance_spreads_the_whole_delay(attempt: int) -> None:
    chance = random.Random(7)
    longest = decide(ErrorClass.TRANSIENT, attempt, 100).delay_s or 0.0

    delays = [decide(ErrorClass.TRANSIENT, attempt, 100, chance=chance.random()).delay_s or 0.0 for _ in range(400)]

    assert 0 <= min(delays) < 0.1 * longest
    assert 0.9 * longest < max(delays) <= longest
    assert sum(delays) / len(delays) == pytest.approx(longest / 2, rel=0.1)


@pytest.mark.parametrize("guard", [None, *Guard])
def test_only_contradiction_has_one_attempt(guard: Guard | None) -> None:
    decision = decide(ErrorClass.SHAPE, 1, 5, guard=guard)

    assert (decision == GIVEN_UP) is (guard is Guard.CONTRADICTION)


@pytest.mark.parametrize("kind", [ErrorClass.SHAPE, ErrorClass.REFUSAL])
def test_unusable_reply_gets_three_attempts(kind: ErrorClass) -> None:
    assert decide(kind, 2, 5) == again(0.0)
    assert decide(kind, 3, 5) == GIVEN_UP


@pytest.mark.parametrize("kind", [ErrorClass.SHAPE, ErrorClass.REFUSAL, ErrorClass.TRANSIENT])
def test_lower_limit_of_attempts_holds(kind: ErrorClass) -> None:
    assert decide(kind, 1, 1) == GIVEN_UP


@pytest.mark.parametrize("kind", [ErrorClass.SHAPE, ErrorClass.REFUSAL, ErrorClass.TRANSIENT])
def test_same_error_twice_gives_up(kind: ErrorClass) -> None:
    assert decide(kind, 2, 100, again=True) == GIVEN_UP


@pytest.mark.parametrize("last", [{"attempt": 5}, {"attempt": 2, "again": True}])
def test_no_task_is_given_up_before_something_went_well(last: dict[str, Any]) -> None:
    assert decide(ErrorClass.TRANSIENT, max_attempts=5, worked=False, **last) == Decision(delay_s=1.0, counted=False)
    assert decide(ErrorClass.TRANSIENT, max_attempts=5, worked=True, **last) == GIVEN_UP


def test_doubt_asks_the_endpoint_first() -> None:
    decision = decide(ErrorClass.TRANSIENT, 2, 5, again=True, worked=False, doubtful=True)

    assert decision == Decision(delay_s=1.0, counted=False, pause_s=0.0)


@pytest.mark.parametrize("kind", [kind for kind in ErrorClass if kind not in COUNTED])
def test_uncounted_class_never_gives_up(kind: ErrorClass) -> None:
    decision = decide(kind, 1000, 1, again=True)

    assert decision.delay_s is not None
    assert not decision.counted


@pytest.mark.parametrize("attempt", [1, 5, 1000])
def test_silent_server_costs_no_attempt(attempt: int) -> None:
    decision = decide(ErrorClass.TRANSIENT, attempt, 5, down=True, again=True)

    assert decision == Decision(delay_s=1.0, counted=False, pause_s=0.0)


@pytest.mark.parametrize("kind", [ErrorClass.TRANSIENT, ErrorClass.CAPACITY])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_servers_own_delay_is_never_cut(kind: ErrorClass, chance: float) -> None:
    decision = decide(kind, 1, 5, retry_after_s=17, chance=chance)

    assert 17 <= (decision.delay_s or 0) <= 17 + ANSWERS[kind].first_s


def test_server_that_names_its_delay_is_left_alone() -> None:
    assert decide(ErrorClass.CAPACITY, 1, 5, retry_after_s=17).pause_s == 17
    assert decide(ErrorClass.CAPACITY, 1, 5).pause_s is None


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("no complete reply within 180 s", "no complete reply within 90 s", True),
        ("out of memory: 1.25 GiB of 8,192 MiB", "out of memory:  3.5 GiB of 512 MiB", True),
        ("at 0xdeadBEEF", "at 0x12", True),
        ("the reply is not valid JSON", "the reply has the wrong shape", False),
        ("x" * 5000, "x" * 4000, True),
    ],
)
def test_gist_leaves_out_what_varies(one: str, other: str, alike: bool) -> None:
    assert (gist(one) == gist(other)) is alike


def attempt(error: str, round_: int = 1, kind: ErrorClass = ErrorClass.SHAPE) -> Attempt:
    step = Step(role=Role.JUDGE, round=round_, model="m")
    return Attempt(
        step=step,
        attempt=1,
        endpoint="gpu",
        error_class=kind,
        error=error,
        reply="",
        started_at=at(0),
        finished_at=at(1),
    )


def test_repeat_is_same_turn_class_and_text() -> None:
    repeats, task = Repeats(), TaskId(1)

    assert not repeats.again(task, attempt("line 3: not JSON"))
    assert repeats.again(task, attempt("line 77: not JSON"))
    assert not repeats.again(TaskId(2), attempt("line 3: not JSON"))
    assert not repeats.again(task, attempt("not JSON at all"))
    assert not repeats.again(task, attempt("not JSON at all", round_=2))
    assert not repeats.again(task, attempt("not JSON at all", round_=2, kind=ErrorClass.TRANSIENT))


def test_forgotten_turn_repeats_nothing() -> None:
    repeats, task = Repeats(), TaskId(1)
    repeats.again(task, attempt("not JSON"))

    repeats.forget(task)

    assert not repeats.again(task, attempt("not JSON"))


def test_what_befalls_three_tasks_is_widespread() -> None:
    repeats, found = Repeats(), []
    for task in (1, 1, 2, 3):
        repeats.again(TaskId(task), attempt("answered 500: boom"))
        found.append(repeats.widespread(attempt("answered 500: boom")))

    assert found == [False, False, False, True]
    assert not repeats.widespread(attempt("answered 500: bang"))


def test_texts_without_end_are_forgotten() -> None:
    repeats = Repeats()
    for number in range(3):
        repeats.again(TaskId(number), attempt("boom"))
    for number in range(1000):
        repeats.again(TaskId(1), attempt("boom" + number * "!"))

    assert not repeats.widespread(attempt("boom"))
