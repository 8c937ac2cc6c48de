"""Opens the SQLite file, for the one writer or for readers, and says its errors in words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Engine,
    Executable,
    Select,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.sql.compiler import SQLCompiler

from orchestrator.errors import SchemaError, StoreError
from orchestrator.store.codec import UnreadableError, shortened

BUSY_S = 60.0
_CACHE_KIB = 32_768
_SYNCHRONOUS = ("FULL", "NORMAL")
_DIALECT = sqlite.dialect()

_UNREADABLE = (
    "{path} is damaged, for it holds what was never written there ({error}): restore a copy; `orchestrate db verify` "
    "says which tasks it is about"
)
# What SQLite says, without a code of its own, of values that it cannot read.
_UNREAD = ("Could not decode to UTF-8", "malformed JSON")
_ADVICE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: f"{{path}} is locked by another program (waited {BUSY_S:.0f} s): end it, then run this again",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another program: end it, then run this again",
    sqlite3.SQLITE_FULL: "the disk that holds {path} is full: free some space and run this again; nothing is lost",
    sqlite3.SQLITE_IOERR: "{path} could not be read or written ({error}): check the disk and its space, run this again",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged: restore a copy, or save what is left with `sqlite3 {path} .recover`",
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database: give another path",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: check the permissions of the file and of its folder",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: check that its folder exists, and the permissions of both",
}

# What reading fails with where the files beside a database can neither be opened nor made.
_UNWRITABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def store_error(error: sqlite3.Error | DBAPIError, path: Path) -> StoreError:
    """The same failure as one line that says what to do."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if "Could not decode to UTF-8" in str(cause):
        code = sqlite3.SQLITE_CORRUPT
    if code in _ADVICE:
        return StoreError(_ADVICE[code].format(path=path, error=cause))
    if any(said in str(cause) for said in _UNREAD):
        return StoreError(_UNREADABLE.format(path=path, error=shortened(str(cause))))
    if "no such table" in str(cause) or "no such column" in str(cause):
        return SchemaError(f"{path} lacks what this program needs ({cause}): run `orchestrate db upgrade`")
    return StoreError(f"{path} refused a statement ({cause}): run `orchestrate db check`")


@contextmanager
def said_in_words(path: Path) -> Iterator[None]:
    """Turn the database's errors, and values that cannot be read, into StoreError."""
    try:
        yield
    except UnreadableError as error:
        raise StoreError(_UNREADABLE.format(path=path, error=error)) from error
    except (sqlite3.Error, DBAPIError) as error:
        raise store_error(error, path) from error
    except UnicodeDecodeError as error:
        # Where a flipped byte is in a name that SQLite quotes, Python cannot read the message.
        raise StoreError(_ADVICE[sqlite3.SQLITE_CORRUPT].format(path=path)) from error


def create_file(path: Path) -> None:
    """An empty database that only its owner can read; its journals inherit that. Nothing if it is there."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"{path} cannot be created ({error.strerror}): check its folder") from error


def connect(path: Path) -> sqlite3.Connection:
    """A bare connection to a file that exists: no transaction begins by itself, any thread may use it."""
    if not path.is_file():
        raise StoreError(f"no database at {path}: run `orchestrate submit` or `orchestrate db upgrade` first")
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A bare connection that cannot write, also where nobody can.

    SQLite keeps two files beside a database in WAL mode, and makes them if they are not there. Where it cannot, the
    database alone is read, which is all of it as long as its log is empty (https://sqlite.org/wal.html#readonly).

    Raises:
        StoreError: it cannot be made out, because the log beside it cannot be taken in.
    """
    connection = connect(path)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNWRITABLE:
            raise
        return _read_alone(path)
    return connection


def _read_alone(path: Path) -> sqlite3.Connection:
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{path} cannot be read where it is: {log.name} beside it holds what was written last, and taking that in "
            f"needs a folder that can be written to: make it writable, or copy {path.name}* into one that is"
        )
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    return connection


def reader_engine(path: Path, *, lossy: bool = False) -> Engine:
    """An engine whose connections cannot write; each transaction is one snapshot.

    `lossy` reads bytes that are no UTF-8 as replacement characters, where another reader ends with an error.
    """

    def reader() -> sqlite3.Connection:
        connection = connect_to_read(path)
        if lossy:
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        return connection

    engine = create_engine("sqlite://", creator=reader, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def constant(value: str | int) -> ColumnElement[Any]:
    """A value written into the statement itself: a partial index is not chosen for a bound one."""
    return literal_column(f"'{value}'" if isinstance(value, str) else str(value))


def unindexed(column: Column[Any]) -> ColumnElement[Any]:
    """The column, hidden from the planner, which would take an index on it that finds nearly every row."""
    return literal_column(f"+{column}")


def listed(name: str) -> Select[Any]:
    """The values of a JSON list bound under a name: one statement for lists of any length."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


class Statement:
    """A Core statement compiled once; `bind` makes its parameters, which are plain SQLite values.

    What does not change from call to call is written into it with `constant` and `null()`. An insert of a turn
    costs 13 µs this way, and 48 µs when Core executes it.
    """

    __slots__ = ("_names", "_pick", "sql")

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        """Compile; `columns` names those of an insert that has no values of its own."""
        compiled = cast(SQLCompiler, statement.compile(dialect=_DIALECT, column_keys=columns))  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()
        self._pick = itemgetter(*self._names) if len(self._names) > 1 else None

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The parameters in the statement's order; raises KeyError for one that is missing."""
        if self._pick is None:
            return tuple(values[name] for name in self._names)
        picked: tuple[Any, ...] = self._pick(values)
        return picked


class Writer:
    """The one connection that writes, held open. Every transaction begins with the right to write."""

    def __init__(self, path: Path, synchronous: str) -> None:
        """Open a file that exists; `synchronous` is FULL or NORMAL."""
        if synchronous not in _SYNCHRONOUS:
            raise ValueError(f"synchronous is one of {_SYNCHRONOUS}, not {synchronous!r}")
        self.path = path
        self._engine = create_engine(
            "sqlite://", creator=lambda: connect(path), poolclass=StaticPool, isolation_level="AUTOCOMMIT"
        )
        self._begun = False
        with said_in_words(path):
            self._connection = self._engine.connect()
            for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", f"cache_size=-{_CACHE_KIB}"):
                self._connection.exec_driver_sql(f"PRAGMA {pragma}").close()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; inside another one, a part of it. An exception undoes all of it."""
        with said_in_words(self.path):
            if self._begun:
                self._refuse_if_undone()
                yield
                return
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._begun = True
            try:
                yield
                self._refuse_if_undone()
                self._connection.exec_driver_sql("COMMIT")
            except BaseException:
                self._undo()
                raise
            finally:
                self._begun = False

    def run(self, statement: Statement, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute once."""
        return self._connection.exec_driver_sql(statement.sql, statement.bind(values))

    def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for each row; nothing for none."""
        if rows:
            self._connection.exec_driver_sql(statement.sql, [statement.bind(row) for row in rows])

    def _in_transaction(self) -> bool:
        return cast(sqlite3.Connection, self._connection.connection.dbapi_connection).in_transaction

    def _refuse_if_undone(self) -> None:
        # SQLite undoes a whole transaction by itself when the disk is full; what followed would commit alone.
        if not self._in_transaction():
            raise StoreError(f"{self.path}: an earlier error undid this batch; run this again")

    def _undo(self) -> None:
        if self._in_transaction():
            self._connection.exec_driver_sql("ROLLBACK")
