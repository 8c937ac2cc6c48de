"""As much of `sqlite3` over apsw as the store needs, so that its own statements reach a disk that fails on purpose.

Python's `sqlite3` cannot take a VFS of ours: it has a SQLite of its own, and apsw has another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from tests.faults.disk import Disk

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_RAISED: dict[type[apsw.Error], type[sqlite3.Error]] = {
    apsw.ConstraintError: sqlite3.IntegrityError,
    apsw.CorruptError: sqlite3.DatabaseError,
    apsw.NotADBError: sqlite3.DatabaseError,
}


@contextmanager
def stored_on(disk: Disk) -> Iterator[None]:
    """Whoever opens a store's database meanwhile, which is named by a URI, opens it on that disk."""
    usual = sqlite3.connect

    def connect(name: Any, **settings: Any) -> Connection | sqlite3.Connection:
        return Connection(name, disk, settings["timeout"]) if settings.get("uri") else usual(name, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        yield


@contextmanager
def _raised_as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        told = _RAISED.get(type(error), sqlite3.OperationalError)(str(error))
        told.sqlite_errorcode = getattr(error, "extendedresult", 0) or getattr(error, "result", 0)
        raise told from error


class Connection:
    """A connection as `sqlite3.connect(…, isolation_level=None)` gives one; marks each commit on the disk."""

    isolation_level = None
    row_factory = None

    def __init__(self, name: str, disk: Disk, timeout: float) -> None:
        """Open a file that is there, by its path or its URI."""
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        with _raised_as_sqlite3():
            self.real = apsw.Connection(name, flags=flags, vfs=disk.vfs)
            self.real.set_busy_timeout(round(timeout * 1000))
        self.disk = disk

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN has been said."""
        return bool(self.real.in_transaction)

    def cursor(self) -> Cursor:
        """A cursor of its own."""
        return Cursor(self)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Execute one statement."""
        return self.cursor().execute(sql, values)

    def create_function(self, name: str, arguments: int, function: Callable[..., Any], **_flags: bool) -> None:
        """Let SQL call a function."""
        self.real.create_scalar_function(name, function, arguments)

    def backup(self, target: Connection) -> None:
        """Copy the whole database."""
        with _raised_as_sqlite3(), target.real.backup("main", self.real, "main") as copying:
            while not copying.done:
                copying.step(100)

    def commit(self) -> None:
        """End a transaction, if there is one."""
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo a transaction, if there is one."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """Give the file back."""
        with _raised_as_sqlite3():
            self.real.close()


class Cursor:
    """What a statement gave, read to its end at once."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """Nothing executed yet."""
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._connection = connection
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """Execute one statement."""
        real = self._connection.real
        cursor = real.cursor()
        cursor.exec_trace = self._describe
        with _raised_as_sqlite3():
            self._rows = iter(cursor.execute(sql, tuple(values)).fetchall())
        verb = sql.lstrip()[:7].rstrip().upper()
        self.rowcount = real.changes() if verb in _WRITES else -1
        self.lastrowid = real.last_insert_rowid()
        if verb == "COMMIT":
            self._connection.disk.mark("commit")
        return self

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Cursor:
        """Execute for each row."""
        changed = sum(self.execute(sql, row).rowcount for row in rows)
        self.rowcount = changed
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """The next rows."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        """Forget the rows."""
        self._rows = iter(())

    def _describe(self, cursor: apsw.Cursor, _sql: str, _values: object) -> bool:
        names = [column[0] for column in cursor.get_description()]
        self.description = tuple((name, *[None] * 6) for name in names) or None
        return True
