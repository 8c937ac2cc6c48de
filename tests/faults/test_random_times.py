"""F2 and F14: killed, or asked to stop, at random times with several turns in flight, and started again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.report import SEED, line, many
from tests.faults.scene import Account, Scene, Stage

WORKERS = 4
TASKS = 60
LATENCY_S = 0.02
LATEST_S = 0.5  # after its start; a run needs about 0.15 s to its first turn


def struck(scene: Scene, chance: random.Random, number: signal.Signals) -> int:
    """Start a run, send it a signal some time later, and wait for its end; the exit code, 0 if it was done before."""
    run = scene.start()
    time.sleep(chance.uniform(0.05, LATEST_S))
    if run.poll() is None:
        run.send(number)
    return run.wait()


def struck_often(stage: Stage, holds: int, number: signal.Signals, times: int, ends: set[int]) -> Account:
    """Strike run after run of database after database, until so many have ended by it; each database is finished."""
    chance, total = random.Random(SEED + holds), Account()
    prepared = stage.prepare(TASKS, workers=WORKERS, holds=holds)
    undisturbed = stage.scene(prepared)
    undisturbed.run()
    while total.points < times:
        scene = stage.scene(prepared)
        while total.points + len(scene.faults) < times:
            code = struck(scene, chance, number)
            if code == 0:
                break
            assert code in ends
            scene.faulted()
            if number is signal.SIGTERM:
                assert scene.rows("SELECT count(*) FROM tasks WHERE status = 'leased'") == [(0,)]
        scene.run()
        assert scene.results() == undisturbed.results()
        total.add(scene.account())
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("holds", "how"), [(3, "depth first"), (1, "in waves")])
def test_kills_lose_and_double_nothing(set_up: Callable[[float], Stage], holds: int, how: str) -> None:
    times = many(100, 1500)

    total = struck_often(set_up(LATENCY_S), holds, signal.SIGKILL, times, {-signal.SIGKILL})

    line(f"F2 killed at random times, {WORKERS} workers, {how}", *total.figures(), seed=SEED + holds)
    assert (total.points, total.survived, total.lost, total.doubled) == (times, times, 0, 0)
    assert 0 < max(total.repeated, default=0) <= WORKERS


@pytest.mark.slow
def test_stopping_repeats_nothing(set_up: Callable[[float], Stage]) -> None:
    times = many(50, 300)

    # Before it begins to claim, a run is ended by the signal itself.
    total = struck_often(set_up(LATENCY_S), 3, signal.SIGTERM, times, {130, -signal.SIGTERM})

    line("F14 asked to stop at random times", *total.figures(), seed=SEED + 3)
    assert (total.points, total.survived, total.lost, total.doubled) == (times, times, 0, 0)
    assert sum(total.repeated) == 0
