"""F11: a clock that jumps a day, crosses the end of summer time, or goes slow, under one run and under two."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.injection import SKEW, Injection
from tests.faults.report import line
from tests.faults.scene import Account, Command, Scene, Stage

WORKERS = 2  # of each of two runs: four calls are in flight, as in the other scenarios
DAY_S = 86_400.0
SHORT_LEASE = {"ORCHESTRATE_LEASE_S": "1"}


@dataclass(frozen=True, slots=True)
class Skewed:
    """A scene whose runs share one wrong clock."""

    scene: Scene

    @property
    def file(self) -> Path:
        """What says how wrong it is."""
        return self.scene.home / "skew"

    def set(self, offset_s: float, rate: float = 1.0) -> Skewed:
        """Set the clock of all runs, now."""
        if self.file.exists():
            with self.file.open("r+b", buffering=0) as file:
                file.write(SKEW.pack(offset_s, rate))
        else:
            self.file.write_bytes(SKEW.pack(offset_s, rate))
        return self

    def start(self, **settings: str) -> Command:
        """A run under that clock."""
        injected = Injection(acknowledged=str(self.scene.acknowledged), skew=str(self.file))
        return self.scene.start(injected=injected, **SHORT_LEASE, **settings)


def jump(place: Skewed, offset_s: float) -> Account:
    """Two runs, both of which see the clock jump."""
    runs = [place.set(0.0).start() for _ in range(2)]
    place.scene.until_stored(20)
    place.set(offset_s)
    assert [run.wait() for run in runs] == [0, 0]
    return place.scene.account(1)


def jump_and_kill(place: Skewed, offset_s: float) -> Account:
    """A run that is killed after the clock has jumped; the next one finds its leases."""
    run = place.set(0.0).start()
    place.scene.until_stored(20)
    place.set(offset_s)
    place.scene.until_stored(40)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    place.scene.faulted()
    assert place.start().wait() == 0
    return place.scene.account()


def end_of_summer_time(place: Skewed) -> Account:
    """Two runs across the hour that comes twice, where they are."""
    ends = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    place.set((ends - datetime.now(UTC)).total_seconds() - 0.5)
    runs = [place.start(TZ="Europe/Berlin") for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    return place.scene.account(1)


def slow(place: Skewed) -> Account:
    """Two runs whose clock goes at a tenth of the speed."""
    runs = [place.set(0.0, 0.1).start() for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    return place.scene.account(1)


@pytest.mark.slow
def test_wrong_clock_loses_and_doubles_nothing(set_up: Callable[[float], Stage]) -> None:
    stage, total = set_up(0.04), Account()
    prepared = stage.prepare(60, workers=WORKERS)

    for offset_s in (DAY_S, -DAY_S):
        total.add(jump(Skewed(stage.scene(prepared)), offset_s))
        total.add(jump_and_kill(Skewed(stage.scene(prepared)), offset_s))
    total.add(end_of_summer_time(Skewed(stage.scene(prepared))))
    total.add(slow(Skewed(stage.scene(prepared))))

    line("F11 the clock jumps a day, an hour comes twice, a slow clock", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (6, 6, 0, 0)
    assert max(total.repeated) <= 2 * WORKERS
