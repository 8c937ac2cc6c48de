"""An upgrade is killed, or loses its power, at every write: the database has the old schema or the new one, whole."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from orchestrator.app.workplace import open_workplace
from orchestrator.store import schema
from orchestrator.store.reading import Reading
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.disk import Disk, Op, Platter
from tests.faults.driver import stored_on
from tests.faults.nights import DATABASE, again, contents, rows
from tests.faults.report import many
from tests.store_rows import MIGRATIONS

KEPT = Path(__file__).parent / "databases"
NOTHING = "none"
RELEASED = [NOTHING, *sorted(file.stem for file in KEPT.glob("m*.sqlite3"))]
FINISHED = many(8, 1_000)

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One upgrade as its disk saw it, and the contents before and after it."""

    ops: list[Op]
    before: Mapping[str, bytes]
    old: str
    new: str


def released(folder: Path, revision: str) -> Path:
    """A database as it was left by the code of that revision; an empty file for none."""
    folder.mkdir()
    path = folder / DATABASE
    if revision == NOTHING:
        path.touch()
    else:
        shutil.copy(KEPT / f"{revision}.sqlite3", path)
    return path


def state(path: Path) -> str:
    """A digest of the schema and of all rows."""
    with closing(sqlite3.connect(path)) as connection:
        shape = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    return f"{hash(repr(shape))} {contents(path)}"


def upgraded(path: Path) -> Upgrade:
    """Upgrade on a disk that notes everything."""
    old, disk = state(path), Disk()
    with stored_on(disk):
        schema.upgrade(path, MIGRATIONS)
    disk.close()
    return Upgrade(ops=disk.ops, before=disk.before, old=old, new=state(path))


def left(folder: Path, files: Mapping[str, bytes]) -> Path:
    """These files, and no others, in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if content or name == DATABASE:
            (folder / name).write_bytes(content)
    return folder / DATABASE


@pytest.mark.parametrize("revision", RELEASED)
def test_killed_upgrade_is_undone_or_done(tmp_path: Path, revision: str) -> None:
    upgrade = upgraded(released(tmp_path / "released", revision))
    platter, chance, points, whole = Platter(upgrade.before), Random(report.SEED), 0, 0
    audit = Audit()
    finished = set(chance.sample(range(len(upgrade.ops)), min(FINISHED, len(upgrade.ops))))

    for number, op in enumerate(upgrade.ops):
        platter.take(op)
        for files in (platter.as_written(), platter.as_torn(chance)):
            path = left(tmp_path / "killed", files)
            points += 1
            found = state(path)
            whole += found in (upgrade.old, upgrade.new) and not audit.breaches(path)
            if number in finished:
                schema.upgrade(path, MIGRATIONS)
                assert state(path) == upgrade.new
                assert audit.breaches(path) == []
    report.line(f"F15 upgrade from {revision}, killed at each write", points, whole, 0, 0, 0, 0, audit.verified)

    assert whole == points


def test_every_older_revision_has_its_database() -> None:
    revisions = sorted(file.name[:5] for file in (MIGRATIONS / "versions").glob("m[0-9]*.py"))

    assert set(revisions[:-1]) <= set(RELEASED)


@pytest.mark.parametrize("revision", RELEASED[1:])
def test_night_of_an_older_version_goes_on(tmp_path: Path, revision: str) -> None:
    path = released(tmp_path / "place", revision)
    before = rows(path, "SELECT id, text FROM turns")
    schema.upgrade(path, MIGRATIONS)

    end = again(open_workplace(tmp_path / "place", {}))

    with Reading(path) as reading:
        found = {shown: reading.find(f"posting-00{shown}")[0].status.value for shown in range(1, 7)}
    assert found == {1: "done", 2: "done", 3: "cancelled", 4: "done", 5: "done", 6: "done"}
    assert (end.tally.done, end.tally.rescued) == (3, 2)
    assert rows(path, "SELECT id, text FROM turns")[: len(before)] == before
    assert Audit().breaches(path) == []
