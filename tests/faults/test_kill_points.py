"""F1: killed before and after every statement, call and acknowledgement of a run, one kill a database."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.injection import Injection
from tests.faults.model_server import ROLES
from tests.faults.report import LONG, line
from tests.faults.scene import Account, Scene, Stage

# What must be among the points, or the enumeration has missed a step.
EXPECTED = {
    *(f"{role}: {when} the speak call" for role in ROLES for when in ("before", "after")),
    *(f"{role}: {when} INSERT turns" for role in ROLES for when in ("before", "after")),
    *(f"{role}: {when} {what}" for role in ROLES for when in ("before", "after") for what in ("BEGIN", "COMMIT")),
    *(f"{role}: {when} the acknowledgement" for role in ROLES for when in ("before", "after")),
    *("start: before UPDATE tasks", "start: after UPDATE tasks", "judge: after INSERT verdicts"),
    *("start: after INSERT runs", "judge: before UPDATE runs"),
}
SWAPS = {f"{role}: {when} INSERT swaps" for role in ("start", "advocate", "critic") for when in ("before", "after")}
_TRIES = 5


def passed(stage: Stage, prepared: Path) -> Counter[str]:
    """How often a run that nothing disturbs passes each point: the fewest of three, as a wait may add some."""
    counts = []
    for _ in range(3):
        scene = stage.scene(prepared)
        log = scene.home / "points.txt"
        assert scene.start(injected=Injection(points=str(log))).wait() == 0
        counts.append(Counter(log.read_text().splitlines()))
    return counts[0] & counts[1] & counts[2]


def each(points: Counter[str], every: bool) -> Iterator[tuple[str, int]]:
    """Each point with each of its passings, or with its first."""
    for name, times in points.items():
        for time in range(1, (times if every else 1) + 1):
            yield name, time


def killed_at(stage: Stage, prepared: Path, name: str, time: int) -> Scene:
    """A database that was left at that point. A run may wait less, and pass a point less often: then another one."""
    for _ in range(_TRIES):
        scene = stage.scene(prepared)
        injected = Injection(crash_at=name, crash_time=time, acknowledged=str(scene.acknowledged))
        code = scene.start(injected=injected).wait()
        if code == -signal.SIGKILL:
            return scene
        assert code == 0
    raise AssertionError(f"never came to {name} for the {time}. time")


def account(stage: Stage, prepared: Path, points: Iterator[tuple[str, int]]) -> Account:
    """Kill at each point, and give the same command again."""
    total = Account()
    for name, time in points:
        scene = killed_at(stage, prepared, name, time)
        scene.faulted()
        scene.run()
        total.add(scene.account())
    return total


def interrupted(stage: Stage) -> Path:
    """A database left by a run that was killed while the critic's turn was in flight."""
    return killed_at(stage, stage.prepare(1, workers=1), "critic: after the speak call", 1).home


@pytest.mark.slow
def test_kill_at_every_step_depth_first(set_up: Callable[[float], Stage]) -> None:
    stage = set_up(0.0)
    prepared = stage.prepare(1, workers=1)
    points = passed(stage, prepared)

    total = account(stage, prepared, each(points, every=True))

    line("F1 killed at every step, depth first", *total.figures())
    assert points.keys() >= EXPECTED
    assert (total.survived, total.lost, total.doubled) == (points.total(), 0, 0)
    assert max(total.repeated) == 1


@pytest.mark.slow
def test_kill_at_every_step_of_swaps(set_up: Callable[[float], Stage]) -> None:
    stage = set_up(0.0)
    deep = passed(stage, stage.prepare(1, workers=1))
    prepared = stage.prepare(1, workers=1, holds=1)
    points = passed(stage, prepared)
    own = Counter({name: times for name, times in points.items() if LONG or name not in deep})

    total = account(stage, prepared, each(own, every=LONG))

    line("F1 killed at every step of loading models", *total.figures())
    assert own.keys() >= SWAPS
    assert (total.survived, total.lost, total.doubled) == (total.points, 0, 0)
    assert max(total.repeated) <= 1


@pytest.mark.slow
def test_kill_at_every_step_of_resuming(set_up: Callable[[float], Stage]) -> None:
    stage = set_up(0.0)
    prepared = interrupted(stage)
    points = Counter({name: times for name, times in passed(stage, prepared).items() if name.startswith("start")})

    total = account(stage, prepared, each(points, every=LONG))

    line("F1 killed again while resuming", *total.figures())
    assert points.keys() >= {"start: before INSERT attempts", "start: after UPDATE runs"}
    assert (total.survived, total.lost, total.doubled) == (total.points, 0, 0)
