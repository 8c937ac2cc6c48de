"""F7 and F9: a foreign writer holds the lock, and a run is frozen past its leases and woken again."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.injection import Injection
from tests.faults.report import LONG, SEED, line, many
from tests.faults.scene import Account, Command, Scene, Stage

WORKERS = 4
OF_TWO = WORKERS // 2  # workers of each of two runs: as many calls are in flight
# The short suite waits a tenth as long for a lock as the program does, and holds it a tenth as long.
BUSY_S = 60.0 if LONG else 6.0


class Lock:
    """The right to write, taken as a foreign program would."""

    def __init__(self, path: Path) -> None:
        """Take it, as soon as the run lets go of it for a moment."""
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        """Give it back."""
        self._connection.execute("ROLLBACK")
        self._connection.close()


def locked(stage: Stage) -> tuple[Scene, Command, Lock]:
    """A run in the middle of its work, and its database locked."""
    scene = stage.scene(stage.prepare(60, workers=WORKERS))
    run = scene.start(injected=Injection(acknowledged=str(scene.acknowledged), busy_s=BUSY_S))
    scene.until_stored(5)
    return scene, run, Lock(scene.database)


@pytest.mark.slow
def test_foreign_lock_is_waited_for(set_up: Callable[[float], Stage]) -> None:
    total = Account()
    held = [locked(set_up(0.02)) for _ in range(3)]
    began = time.monotonic()

    for (scene, run, lock), seconds in zip(held[:2], (1.0, BUSY_S / 2), strict=True):
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        lock.release()
        assert run.wait() == 0
        total.add(scene.account(1))
    scene, run, lock = held[2]
    assert run.wait(3 * BUSY_S) == 1
    assert "is locked by another program" in run.said()
    scene.faulted()
    lock.release()
    scene.run()
    total.add(scene.account())

    line(f"F7 a foreign lock for 1 s, {BUSY_S / 2:g} s, for ever", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (3, 3, 0, 0)
    assert max(total.repeated, default=0) <= WORKERS


def frozen(scene: Scene, chance: random.Random) -> Command:
    """A run that was stopped in the middle, but not while it held the lock: nobody else could go on then."""
    run = scene.start(ORCHESTRATE_LEASE_S="1")
    scene.until_stored(1)
    while True:
        time.sleep(chance.uniform(0.0, 0.2))
        assert run.poll() is None
        run.send(signal.SIGSTOP)
        with closing(sqlite3.connect(scene.database, timeout=0.05, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                return run
            except sqlite3.OperationalError:
                run.send(signal.SIGCONT)


@pytest.mark.slow
def test_frozen_run_writes_nothing_late(set_up: Callable[[float], Stage]) -> None:
    stage, chance, total, refused = set_up(0.05), random.Random(SEED), Account(), 0
    prepared = stage.prepare(30, workers=OF_TWO)
    times = many(5, 50)

    for _ in range(times):
        scene = stage.scene(prepared)
        run = frozen(scene, chance)
        scene.run(ORCHESTRATE_LEASE_S="1")
        before = scene.rows("SELECT id, task_id, token FROM turns")
        run.send(signal.SIGCONT)
        assert run.wait() == 0
        refused += "came too late to be kept" in run.said()
        assert scene.rows("SELECT id, task_id, token FROM turns") == before
        total.add(scene.account(1, woken=True))

    line("F9 frozen past its leases, then woken", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (times, times, 0, 0)
    # Those in flight, and those that the woken run was about to send.
    assert 0 < max(total.repeated, default=0) <= 2 * OF_TWO
    assert refused > 0
