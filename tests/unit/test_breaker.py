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


@pytest.mark.parametrize(("outages", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (99999, 30)])
def test_pauses_grow_to_half_a_minute(outages: int, seconds: float) -> None:
    assert pause_s(outages, 0.0, 1.0) == seconds
    assert pause_s(outages, 0.0, 0.0) == seconds / 2


def test_servers_own_wish_is_kept() -> None:
    assert pause_s(1, 600.0, 0.3) == 600.0
