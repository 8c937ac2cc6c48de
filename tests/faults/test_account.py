"""The account that the other scenarios rest on sees a loss, a double and a repeat where there is one."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.faults.scene import Account, Fault, Scene, Stage


@pytest.fixture
def done(set_up: Callable[[float], Stage]) -> Scene:
    """Two debates, without any fault."""
    stage = set_up(0.0)
    scene = stage.scene(stage.prepare(2, workers=1))
    scene.run()
    return scene


def call_again(scene: Scene, role: str) -> None:
    with scene.calls.open("a") as calls:
        calls.write(json.dumps({"at": time.monotonic(), "key": "r000000", "role": role}) + "\n")


def test_undisturbed_run_needs_six_calls(done: Scene) -> None:
    assert done.account(1) == Account(points=1, survived=1, verified=1)
    assert len(done.spoken()) == len(done.acknowledgements()) == 6


@pytest.mark.parametrize("where", ["role = 'judge'", "token = 1"])
def test_missing_turn_is_lost(done: Scene, where: str) -> None:
    with closing(sqlite3.connect(done.database)) as connection, connection:
        connection.execute(f"DELETE FROM turns WHERE task_id = 1 AND {where}")

    found = done.account(1)

    assert found.lost in (1, 3)
    assert found.survived == 0


def test_unfinished_task_is_lost(done: Scene) -> None:
    with closing(sqlite3.connect(done.database)) as connection, connection:
        connection.execute(
            "UPDATE tasks SET status = 'cancelled', next_role = 'judge', next_round = 1, next_model = 'x'"
        )

    assert done.account(1).lost == 2


def test_call_for_stored_turn_is_double(done: Scene) -> None:
    call_again(done, "critic")

    assert done.account(1) == Account(points=1, survived=1, doubled=1, repeated=[1], verified=1)


def test_broken_promise_is_double(done: Scene) -> None:
    with closing(sqlite3.connect(done.database)) as connection, connection:
        connection.execute("UPDATE verdicts SET score = 99 WHERE task_id = 1")

    account = done.account(1)

    assert account.doubled > 0
    assert account.survived == 0


def test_call_in_vain_is_repeat(done: Scene) -> None:
    in_vain = ("r000000", "judge")
    done.acknowledged.unlink()
    done.faults.append(Fault(at=time.monotonic(), stored=done.stored() - {in_vain}, well=True))
    call_again(done, "judge")

    assert done.account() == Account(points=1, survived=1, repeated=[1], verified=1)


def test_fault_that_broke_something_is_not_survived(done: Scene) -> None:
    done.faults.append(Fault(at=time.monotonic(), stored=done.stored(), well=False))

    assert (done.account().points, done.account().survived) == (1, 0)
