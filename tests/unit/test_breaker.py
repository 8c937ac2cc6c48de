"""When an endpoint is at fault, and how often it is asked again."""

from __future__ import annotations

import pytest

from orchestrator.domain import TaskId
from orchestrator.scheduler.breaker import Breaker, pause_s


def test_three_tasks_in_a_row_open_it() -> None:
    breaker = Breaker()

    states = []
    for task in (1, 1, 2, 2, 3):
        breaker.failed(TaskId(task))
        states.append(breaker.open)

    assert states == [False, False, False, False, True]


def test_turn_that_goes_well_closes_it() -> None:
    breaker = Breaker()
    for task in (1, 2, 3):
        breaker.failed(TaskId(task))

    breaker.went_well()

    assert not breaker.open
    assert not breaker.suspects(TaskId(1))


def test_task_is_suspected_until_one_goes_well() -> None:
    breaker = Breaker()

    breaker.failed(TaskId(1))

    assert breaker.suspects(TaskId(1))
    assert not breaker.suspects(TaskId(2))


def test_something_must_go_well_after_a_first_failure() -> None:
    breaker, task = Breaker(), TaskId(1)
    breaker.went_well()
    found = [breaker.worked_since(task)]
    for event in (breaker.failed, breaker.failed):
        event(task)
        found.append(breaker.worked_since(task))
    breaker.went_well()
    found.append(breaker.worked_since(task))
    breaker.failed(task)
    found.append(breaker.worked_since(task))

    assert found == [False, False, False, True, True]


def test_trial_call_opens_it_by_half() -> None:
    breaker = Breaker()
    breaker.answered()
    states = [breaker.half_open]
    for task in (1, 2, 3):
        breaker.failed(TaskId(task))
    breaker.answered()
    states.append(breaker.half_open)
    breaker.answered()
    states.append(breaker.half_open)
    breaker.went_well()
    states.append(breaker.half_open)

    assert states == [False, True, True, False]


def test_turns_alone_are_at_fault_in_the_end() -> None:
    breaker, states = Breaker(), []
    for task in (1, 2, 3):
        breaker.failed(TaskId(task))
    for _ in range(9):
        breaker.answered()
        breaker.failed(TaskId(1))
        states.append(breaker.open)
    breaker.went_well()

    assert states == [*([True] * 8), False]
    assert not breaker.open


@pytest.mark.parametrize(("outages", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (99999, 30)])
def test_pauses_grow_to_half_a_minute(outages: int, seconds: float) -> None:
    assert pause_s(outages, 0.0, 1.0) == seconds
    assert pause_s(outages, 0.0, 0.0) == seconds / 2


def test_servers_own_wish_is_kept() -> None:
    assert pause_s(1, 600.0, 0.3) == 600.0
