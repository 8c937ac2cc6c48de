"""A night on a disk that notes everything: what was acknowledged when, and what every commit left."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.domain import Spoken
from orchestrator.scheduler.breaker import Breaker
from orchestrator.scheduler.context import RunContext
from orchestrator.scheduler.run import RunEnd
from orchestrator.scheduler.visits import record
from tests.faults.disk import Disk, Op, Platter
from tests.faults.driver import stored_on
from tests.integration.places import run_here, workplace

CAST = dict.fromkeys(("advocate", "critic", "judge"), "rehearsal")
WORKERS = 4
DATABASE = "orchestrate.db"
_SETTINGS = f'synchronous = "{{synchronous}}"\nmax_workers = {WORKERS}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A turn that a model gave, or, once `kept`, one that the run was told is durable."""

    task: int
    role: str
    text: str
    kept: bool


@contextmanager
def noting_turns(disk: Disk) -> Iterator[None]:
    """Mark on the disk what was said, and what was acknowledged, between the writes around it."""

    async def noted(run: RunContext, spoken: Spoken, breaker: Breaker) -> bool:
        disk.mark(_heard(spoken, kept=False))
        kept = await record(run, spoken, breaker)
        if kept:
            disk.mark(_heard(spoken, kept=True))
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.scheduler.floors.record", noted)
        yield


def _heard(spoken: Spoken, *, kept: bool) -> Heard:
    return Heard(task=spoken.task_id, role=spoken.turn.role.value, text=spoken.turn.text, kept=kept)


def place_on(disk: Disk, home: Path, *, synchronous: str, records: int) -> Workplace:
    """A folder whose database lies on that disk, with records submitted."""
    with stored_on(disk):
        return workplace(home, CAST, _SETTINGS.format(synchronous=synchronous), records=records)


def run_on(disk: Disk, place: Workplace) -> RunEnd:
    """What `process-pending` does, on that disk. Raises what it raises."""
    with stored_on(disk), noting_turns(disk):
        return again(place)


def again(place: Workplace) -> RunEnd:
    """What `process-pending` does after all runs before it have died."""
    gone = {run for (run,) in rows(place.config.database, "SELECT id FROM runs")}
    return asyncio.run(run_here(place, dead=lambda running: sorted(running.keys() & gone)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A whole night as its disk saw it, from the first byte of the database to its last.

    Attributes:
        states: a digest of all rows after each commit, and the first operation after which they were so.
        folder: where the night was, with its cards and settings.
    """

    folder: Path
    ops: list[Op]
    before: Mapping[str, bytes]
    states: Mapping[str, int]


def recorded(folder: Path, *, synchronous: str, records: int) -> Night:
    """Spend a night of so many records, all of which get their verdict."""
    disk = Disk()
    try:
        place = place_on(disk, folder, synchronous=synchronous, records=records)
        end = run_on(disk, place)
    finally:
        disk.close()
    assert end.tally.done == records
    return Night(folder=folder, ops=disk.ops, before=disk.before, states=_states(disk, folder.with_suffix(".states")))


def _states(disk: Disk, scratch: Path) -> dict[str, int]:
    platter, digest, changed = Platter(disk.before), contents(written(scratch, disk.before)), False
    states = {digest: 0}
    for number, op in enumerate(disk.ops, start=1):
        platter.take(op)
        changed = changed or op.kind == "write"
        if op.remark == "commit":
            if changed:
                digest = contents(written(scratch, platter.as_written()))
            states.setdefault(digest, number)
            changed = False
    return states


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The database that these files are, in place of any that was in the folder."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"*{DATABASE}*"):
        old.unlink()
    for name, content in files.items():
        if name.startswith(DATABASE) and ".bak-" not in name and (content or name == DATABASE):
            (folder / name).write_bytes(content)
    return folder / DATABASE


def rows(path: Path, question: str) -> list[tuple[Any, ...]]:
    """Rows of a database, by a connection that has nothing to do with the store."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def contents(path: Path) -> str:
    """A digest of every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(tables)}
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def turns(path: Path) -> dict[tuple[int, str], str]:
    """The text of every turn, by task and role; none where there is no table yet."""
    if not rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'turns'"):
        return {}
    return {(task, role): text for task, role, text in rows(path, "SELECT task_id, role, text FROM turns")}


def resumed(night: Night, database: Path) -> RunEnd:
    """The same command again, where the database lies, with the night's own cards and settings."""
    home = database.parent
    for name in ("actors", "orchestrate.toml"):
        if not (home / name).exists():
            (home / name).symlink_to(night.folder / name)
    return again(open_workplace(home, {}))
