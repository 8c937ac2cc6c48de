"""The disk fails or is full: the run stops with words, keeps what it acknowledged, and the same command goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw
import pytest

from orchestrator.app.workplace import open_workplace
from orchestrator.errors import StoreError
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.disk import Disk, Op, Platter
from tests.faults.injection import Injection
from tests.faults.nights import (
    DATABASE,
    WORKERS,
    Heard,
    place_on,
    rows,
    run_on,
    turns,
    written,
)
from tests.faults.report import LONG, many
from tests.faults.scene import Stage

RECORDS = 4
POINTS = many(100, 1_000)
SAID = ("check the disk and its space", "is full: free some space", "an earlier error undid this batch")
# What fails, with which code, and until when.
KINDS = (("sync", apsw.SQLITE_IOERR_FSYNC), ("write", apsw.SQLITE_FULL), ("write", apsw.SQLITE_IOERR_WRITE))

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The disk fails its `at`th write or sync of a run, and all later ones if it `lasts`."""

    kind: str
    code: int
    at: int
    lasts: bool

    def armed(self) -> Callable[[Op], int | None]:
        """The fault, with its own count."""
        seen = 0

        def fault(op: Op) -> int | None:
            nonlocal seen
            seen += op.kind == self.kind
            hit = seen >= self.at if self.lasts else seen == self.at
            return self.code if hit and op.kind == self.kind else None

        return fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one fault cost: what the run stopped with, turns acknowledged and gone, calls made again."""

    said: str
    lost: int
    repeated: int
    whole: bool


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """A folder with a few records to debate."""
    disk = Disk()
    place_on(disk, tmp_path / "submitted", synchronous="FULL", records=RECORDS)
    disk.close()
    return tmp_path / "submitted"


def calls_of(submitted: Path, home: Path) -> dict[str, int]:
    """How many writes and syncs an undisturbed run makes."""
    shutil.copytree(submitted, home)
    disk = Disk()
    run_on(disk, open_workplace(home, {}))
    disk.close()
    return {kind: sum(op.kind == kind for op in disk.ops) for kind in ("write", "sync")}


def spend(submitted: Path, home: Path, fault: Fault, audit: Audit) -> Outcome:
    """A run on a disk that fails, and after a power cut the same command on a disk that is well."""
    shutil.copytree(submitted, home)
    disk, said = Disk(), ""
    disk.fault = fault.armed()
    try:
        run_on(disk, open_workplace(home, {}))
    except StoreError as error:
        said = str(error)
    disk.close()
    heard = [op.remark for op in disk.ops if isinstance(op.remark, Heard)]
    kept = {(turn.task, turn.role): turn.text for turn in heard if turn.kept}
    platter = Platter(disk.before)
    for op in disk.ops:
        platter.take(op)
    left = turns(written(home, platter.as_synced()))
    breaches = audit.breaches(home / DATABASE, home)
    again = run_on(well := Disk(), open_workplace(home, {}))
    well.close()
    breaches += audit.breaches(home / DATABASE, home)
    return Outcome(
        said=said,
        lost=sum(left.get(turn) != text for turn, text in kept.items()),
        repeated=len({(turn.task, turn.role) for turn in heard} - left.keys()),
        whole=not breaches
        and again.tally.turns == len(turns(home / DATABASE)) - len(left)
        and rows(home / DATABASE, "SELECT count(*) FROM verdicts") == [(RECORDS,)],
    )


def test_failing_disk_loses_nothing_acknowledged(submitted: Path, tmp_path: Path) -> None:
    chance, audit, calls = Random(report.SEED), Audit(), calls_of(submitted, tmp_path / "undisturbed")

    outcomes = []
    for number in range(POINTS):
        kind, code = KINDS[number % len(KINDS)]
        fault = Fault(kind=kind, code=code, at=chance.randint(1, calls[kind]), lasts=chance.random() < 0.5)
        outcomes.append(spend(submitted, tmp_path / "failing", fault, audit))
        shutil.rmtree(tmp_path / "failing")
    whole, lost = sum(each.whole for each in outcomes), sum(each.lost for each in outcomes)
    repeated = [each.repeated for each in outcomes]
    report.line("F5 I/O error or full disk", POINTS, whole, lost, 0, sum(repeated), max(repeated), audit.verified)

    assert (whole, lost) == (POINTS, 0)
    said = {each.said for each in outcomes}
    assert all(any(words in one for words in SAID) for one in said if one), said
    assert any(said), "a fault that stops nobody proves nothing"


@pytest.mark.parametrize("room", (16, 64, 256) if LONG else (64,))
def test_full_disk_stops_and_goes_on(set_up: Callable[[float], Stage], room: int) -> None:
    stage = set_up(0.02)
    scene = stage.scene(stage.prepare(40, workers=WORKERS))
    longest = scene.database.stat().st_size + room * 1024

    run = scene.start(injected=Injection(acknowledged=str(scene.acknowledged), longest=longest))
    assert run.wait() == 1
    said = run.said()
    scene.faulted()
    scene.run()

    found = scene.account()
    report.line(f"F6 full at {room} KiB, then freed", *found.figures())
    assert "orchestrate.db could not be read or written" in said
    assert "check the disk and its space, run this again" in said
    assert 0 < len(scene.faults[0].stored) < 3 * 40
    assert (found.survived, found.lost, found.doubled) == (1, 0, 0)
    assert max(found.repeated) <= WORKERS
