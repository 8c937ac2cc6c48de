"""F20: a million tasks, twenty kills, and neither memory nor open files that grow with them. Only in the long suite."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy
import pytest

from tests.faults.report import LONG, line
from tests.faults.scene import Command, Scene, Stage

TASKS = int(os.environ.get("FAULTS_SOAK_TASKS", "1000000"))
KILLS = 20
WORKERS = 16
# MiB that the second half of a run may grow by; SQLite's page cache takes more until some 50,000 turns have filled it.
MOST_MIB = 8 + (32 if 3 * TASKS / (KILLS + 1) / 2 < 50_000 else 0)
_SAMPLE_S = 0.5


def seen(run: Command) -> tuple[float, float] | None:
    """MiB of memory in use by a process, and its open files; None if it has just ended."""
    status = Path(f"/proc/{run.pid}/status").read_text()
    if "VmRSS:" not in status:
        return None
    kib = int(status.split("VmRSS:", 1)[1].split(None, 1)[0])
    return kib / 1024, float(len(list(Path(f"/proc/{run.pid}/fd").iterdir())))


def growth(samples: list[tuple[float, float]]) -> float:
    """How much a figure grew over the time that it was sampled, by the straight line that fits best."""
    if len(samples) < 3:
        return 0.0
    times, figures = numpy.array(samples).T
    return float(numpy.polyfit(times, figures, 1)[0] * (times[-1] - times[0]))


def called(scene: Scene) -> int:
    """How many calls were made; a million tasks make too many to look at each."""
    with scene.calls.open("rb") as calls:
        return sum(1 for _ in calls)


def turns(scene: Scene) -> int:
    """How many turns are stored; none is ever taken away, so the newest number tells."""
    return int(scene.rows("SELECT coalesce(max(id), 0) FROM turns")[0][0])


def watched(scene: Scene, until: int) -> tuple[float, float]:
    """Let a run go on, and kill it after so many turns of all; by how many MiB and open files it grew.

    Its first half does not count: connections are opened, and caches filled that are bounded.
    """
    run, begun = scene.start(), turns(scene)
    samples: list[tuple[float, float, float]] = []
    while (now := turns(scene)) < until:
        time.sleep(_SAMPLE_S)
        if run.poll() is not None:
            break
        if now > begun and (found := seen(run)) is not None:
            samples.append((time.monotonic(), *found))
    if turns(scene) < 3 * TASKS:
        run.send(signal.SIGKILL)
    assert run.wait(600) == (-signal.SIGKILL if turns(scene) < 3 * TASKS else 0)
    late = samples[len(samples) // 2 :]
    return growth([(at, mebibytes) for at, mebibytes, _ in late]), growth([(at, files) for at, _, files in late])


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes hours: make faults")
def test_million_tasks_grow_nothing(set_up: Callable[[float], Stage]) -> None:
    stage = set_up(0.0)
    scene = stage.scene_in(stage.prepare(TASKS, workers=WORKERS))
    grown: list[tuple[float, float]] = []
    in_vain = [0]

    for kill in range(1, KILLS + 2):
        grown.append(watched(scene, 3 * TASKS * kill // (KILLS + 1)))
        in_vain.append(called(scene) - turns(scene))
    repeated = [after - before for before, after in pairwise(in_vain)]
    found = scene.breaches()

    figures = (KILLS, 0 if found else KILLS, scene.unfinished(), len(found), sum(repeated), max(repeated), 1)
    mebibytes, files = (max(growths) for growths in zip(*grown, strict=True))
    grew = f"its second half grew a run by {mebibytes:.1f} MiB and {files:.0f} files at most"
    line(f"F20 {TASKS:,} tasks, {KILLS} kills; {grew}", *figures)
    assert figures[:4] == (KILLS, KILLS, 0, 0)
    assert max(repeated) <= WORKERS
    assert mebibytes < MOST_MIB
    assert files < 4
