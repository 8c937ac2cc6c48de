"""The schema's revision: read without Alembic, moved with it, in one transaction and after a copy.

A file is `ours` if it says so (`application_id`), `new` if it holds nothing, and foreign otherwise.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.errors import SchemaError
from orchestrator.store.engine import BUSY_S, connect, connect_to_read, create_file, said_in_words

# "Debt", written by m0001_first_tables.
APPLICATION_ID = 0x44656274
_REVISION = re.compile(r"m\d{4}")
_MOST_PROBLEMS = 20  # of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The database's revision, None where there is no table yet, and the one this program works with."""

    current: str | None
    head: str
    ok: bool  # whether they are the same


def head(migrations: Path) -> str:
    """The newest revision, from the names of the files: m0001_first_tables.py is m0001."""
    found = sorted(file.name[:5] for file in (migrations / "versions").glob("m[0-9]*.py"))
    if not found:
        raise SchemaError(f"no revisions under {migrations}: the installation is incomplete, install it again")
    return found[-1]


def check(path: Path, migrations: Path) -> SchemaState:
    """Compare the database with this program; changes nothing.

    Raises SchemaError for a newer schema and for a file that is not ours.
    """
    newest = head(migrations)
    current = _current(path) if path.is_file() else None
    if current is not None and current > newest:
        raise SchemaError(f"{path} has schema {current}, this program knows {newest}: install a newer version of it")
    return SchemaState(current=current, head=newest, ok=current == newest)


def upgrade(path: Path, migrations: Path) -> bool:
    """Bring the database to the newest revision, creating it if need be; whether anything changed.

    An older database is copied to NAME.bak-REVISION first. Killed at any moment, it has the old schema or the new.
    """
    if check(path, migrations).ok:
        return False
    create_file(path)
    with _alone(path):
        before = check(path, migrations)
        if before.ok:
            return False
        if before.current is not None:
            _copy(path, before.current)
        _migrate(path, migrations, before.head, forward=True)
    return True


def downgrade(path: Path, migrations: Path, revision: str) -> None:
    """Go back to a revision, or to `base`, which has no tables; copied first, like an upgrade."""
    before = check(path, migrations)
    with _alone(path):
        if before.current is not None:
            _copy(path, before.current)
        _migrate(path, migrations, revision, forward=False)


def problems(path: Path) -> tuple[str, ...]:
    """What SQLite finds wrong with a file: broken pages, and rows without the row they refer to; the first of each."""
    with said_in_words(path), closing(connect_to_read(path)) as connection:
        broken = [
            str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})") if row[0] != "ok"
        ]
        orphans = [
            f"a row of {row[0]} refers to a missing row of {row[2]}"
            for row in islice(connection.execute("PRAGMA foreign_key_check"), _MOST_PROBLEMS)
        ]
    return (*broken, *orphans)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        with FileLock(path.with_name(f".{path.name}.upgrade-lock"), timeout=BUSY_S, mode=0o600):
            yield
    except Timeout as error:
        raise SchemaError(f"{path} is being upgraded by another program: wait for it, then run this again") from error


def _current(path: Path) -> str | None:
    with said_in_words(path), closing(connect_to_read(path)) as connection:
        ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not ours and names <= {"alembic_version"}:
            return None
        revision = _version(connection) if ours and "alembic_version" in names else None
    if revision is None or not _REVISION.fullmatch(revision):
        raise SchemaError(f"{path} is a database of another program: give another path")
    return revision


def _version(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _copy(path: Path, revision: str) -> None:
    copy = path.with_name(f"{path.name}.bak-{revision}")
    create_file(copy)
    with said_in_words(path), closing(connect(path)) as source, closing(connect(copy)) as target:
        source.backup(target)


def _migrate(path: Path, migrations: Path, revision: str, *, forward: bool) -> None:
    # Alembic costs 0.1 s to import, and nearly every command only reads the revision.
    from orchestrator.store import migrate  # noqa: PLC0415

    migrate.move(path, migrations, revision, forward=forward)
