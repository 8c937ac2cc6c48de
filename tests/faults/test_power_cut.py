"""The power goes in the middle of a night: with FULL nothing that was acknowledged is lost, with NORMAL the tail is.

A disk under SQLite notes each write and sync of one whole night, schema and submit included. Each cut keeps what was
synced, and of the rest nothing, all, or some sectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.disk import Platter
from tests.faults.nights import (
    WORKERS,
    Heard,
    Night,
    contents,
    recorded,
    resumed,
    rows,
    turns,
    written,
)
from tests.faults.report import many

RECORDS = 42
# A turn gives up its seat when its reply has come: one more may be said before it is on the disk.
AHEAD = 1
CUTS = many(60, 2_000)
RESUMED = many(3, 40)

pytestmark = pytest.mark.slow


@dataclass(slots=True, kw_only=True)
class Toll:
    """What the cuts cost together; `lost` and `repeated` are turns after each cut."""

    points: int = 0
    whole: int = 0
    lost: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)


@dataclass(slots=True, kw_only=True)
class Before:
    """What a run knew when the power went: turns said, and those of them that it was told are durable."""

    said: dict[tuple[int, str], str] = field(default_factory=dict)
    kept: dict[tuple[int, str], str] = field(default_factory=dict)

    def take(self, remark: object) -> None:
        """Let the run learn one more thing."""
        if isinstance(remark, Heard):
            (self.kept if remark.kept else self.said)[remark.task, remark.role] = remark.text


def cut(night: Night, folder: Path, visit: Callable[[Path, int], None]) -> Toll:
    """Cut the power at seeded moments; `visit` sees some of the databases that are left."""
    chance, toll, platter, before = Random(report.SEED), Toll(), Platter(night.before), Before()
    moments = sorted(chance.choices(range(1, len(night.ops)), k=CUTS))
    visited = set(chance.sample(range(CUTS), RESUMED))
    for number, op in enumerate(night.ops, start=1):
        platter.take(op)
        before.take(op.remark)
        while toll.points < CUTS and moments[toll.points] == number:
            database = written(folder, platter.as_torn(chance) if chance.random() < 0.8 else platter.as_synced())
            left = turns(database)
            toll.whole += not toll.audit.breaches(database, night.folder) and contents(database) in night.states
            toll.lost.append(sum(left.get(turn) != text for turn, text in before.kept.items()))
            toll.repeated.append(len(before.said.keys() - left.keys()))
            if toll.points in visited:
                visit(database, len(left))
                assert toll.audit.breaches(database, night.folder) == []
            toll.points += 1
    return toll


def tell(name: str, toll: Toll) -> None:
    report.line(
        name, toll.points, toll.whole, sum(toll.lost), 0, sum(toll.repeated), most(toll.repeated), toll.audit.verified
    )


def most(counts: Iterable[int]) -> int:
    return max(counts, default=0)


def goes_on(night: Night) -> Callable[[Path, int], None]:
    """The same command after the cut finishes the night, and asks again for nothing that is there."""

    def visit(database: Path, left: int) -> None:
        if not rows(database, "SELECT 1 FROM sqlite_master WHERE name = 'tasks'"):
            return
        tasks = rows(database, "SELECT count(*) FROM tasks")[0][0]
        end = resumed(night, database)
        assert rows(database, "SELECT count(*) FROM tasks WHERE status = 'done'") == [(tasks,)]
        assert end.tally.turns == rows(database, "SELECT count(*) FROM turns")[0][0] - left

    return visit


def test_full_loses_no_acknowledged_turn(tmp_path: Path) -> None:
    night = recorded(tmp_path / "night", synchronous="FULL", records=RECORDS)

    toll = cut(night, tmp_path / "cut", goes_on(night))
    tell("F3 power cut, synchronous FULL", toll)

    assert (toll.points, toll.whole) == (CUTS, CUTS)
    assert sum(toll.lost) == 0
    assert most(toll.repeated) <= WORKERS + AHEAD


def test_normal_loses_the_tail_and_never_corrupts(tmp_path: Path) -> None:
    night = recorded(tmp_path / "night", synchronous="NORMAL", records=RECORDS)

    toll = cut(night, tmp_path / "cut", goes_on(night))
    tell("F3 power cut, synchronous NORMAL", toll)

    assert (toll.points, toll.whole) == (CUTS, CUTS)
    assert sum(lost > 0 for lost in toll.lost) > CUTS // 2, "a disk that loses nothing proves nothing"
