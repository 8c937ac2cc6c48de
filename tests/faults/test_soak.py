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
_SAMPLE_S = 2.0
# A run's first samples show how it gets going.
_WARM = 5


def seen(run: Command) -> tuple[float, int]:
    """MiB of memory in use by a process, and its open files."""
    status = Path(f"/proc/{run.pid}/status").read_text()
    kib = int(status.split("VmRSS:", 1)[1].split(None, 1)[0])
    return kib / 1024, len(list(Path(f"/proc/{run.pid}/fd").iterdir()))


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
    return int(scene.rows("SELECT count(*) FROM turns")[0][0])


def watched(scene: Scene, until: int) -> tuple[float, float]:
    """Let a run go on, and kill it after so many turns of all; by how many MiB and open files it grew."""
    run = scene.start()
    memory: list[tuple[float, float]] = []
    files: list[tuple[float, float]] = []
    while turns(scene) < until:
        time.sleep(_SAMPLE_S)
        if run.poll() is not None:
            break
        mebibytes, open_files = seen(run)
        memory.append((time.monotonic(), mebibytes))
        files.append((time.monotonic(), float(open_files)))
    if turns(scene) < 3 * TASKS:
        run.send(signal.SIGKILL)
    assert run.wait(600) == (-signal.SIGKILL if turns(scene) < 3 * TASKS else 0)
    return growth(memory[_WARM:]), growth(files[_WARM:])


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
    found = scene.verified()

    figures = (KILLS, KILLS if found.ok else 0, scene.unfinished(), len(found.breaches), sum(repeated), max(repeated))
    line(f"F20 {TASKS:,} tasks, {KILLS} kills", *figures)
    print("grown in each run: " + "; ".join(f"{mib:.1f} MiB, {files:.1f} files" for mib, files in grown))
    assert figures[:4] == (KILLS, KILLS, 0, 0)
    assert max(repeated) <= WORKERS
    assert max(mib for mib, _ in grown) < 32
    assert max(files for _, files in grown) < 4
