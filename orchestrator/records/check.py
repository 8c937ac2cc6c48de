"""The whole file is checked before any of it is stored: read once into a spool on disk, so memory stays flat."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.domain import JobDraft
from orchestrator.errors import IntakeError
from orchestrator.limits import LIMITS, Limits
from orchestrator.records.lines import OnProgress
from orchestrator.records.read import open_records
from orchestrator.records.record import LONGEST_RAW, Bad, Good, RecordSpec

_MOST_BAD = 1_000  # kept in memory; `bad_rows` has them all
# A spool that a crash spoils is thrown away, so it needs neither a journal nor syncing.
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE good (line INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, payload TEXT NOT NULL);
CREATE TABLE bad (line INTEGER PRIMARY KEY, what TEXT NOT NULL, mend TEXT NOT NULL, raw TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a file holds, readable until its `check` block ends, and only in the thread that opened it.

    Attributes:
        good: how many records can be stored.
        bad_count: how many cannot.
        bad: the first 1,000 of these.
    """

    good: int
    bad_count: int
    bad: list[Bad]
    _spool: sqlite3.Connection

    def batches(self, size: int = 1_000) -> Generator[list[JobDraft]]:
        """Yield the good records in the file's order."""
        with closing(self._spool.execute("SELECT key, payload FROM good ORDER BY line")) as rows:
            while batch := rows.fetchmany(size):
                yield [JobDraft(key=key, payload=json.loads(payload)) for key, payload in batch]

    def bad_rows(self) -> Iterator[Bad]:
        """Yield all bad records in the file's order."""
        return _bad_rows(self._spool)


@contextmanager
def check(
    path: Path,
    spec: RecordSpec,
    limits: Limits = LIMITS,
    spool_dir: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Checked]:
    """Read a file once, find what is wrong with it, repeated keys included, and keep the rest for `batches`.

    Args:
        path: the file of records; its ending chooses the format.
        spec: the fields a record must have.
        limits: what is longer or deeper is reported.
        spool_dir: where the spool goes, about as large as the file; the system's temporary folder by default.
        on_progress: called with bytes read and bytes in all.

    Raises:
        IntakeError: the file is not what its ending says, or the spool has no room.
    """
    records = open_records(path, spec, limits, on_progress)
    with _spooled(spool_dir) as spool:
        try:
            _fill(spool, records)
        except sqlite3.Error as error:
            raise _spool_error(spool_dir, error) from error
        yield _checked(spool)


@contextmanager
def _spooled(folder: Path | None) -> Iterator[sqlite3.Connection]:
    try:
        place = TemporaryDirectory(prefix="orchestrate-", dir=folder)
    except OSError as error:
        raise _spool_error(folder, error) from error
    with place as name:
        file = Path(name, "spool.db")
        file.touch(mode=0o600)
        with closing(sqlite3.connect(file, isolation_level=None)) as spool:
            spool.executescript(_SCHEMA)
            yield spool


def _spool_error(folder: Path | None, error: Exception) -> IntakeError:
    what = f"the check cannot write its spool to {folder or 'the temporary folder'} ({error})"
    return IntakeError(f"{what}: free some room, or set TMPDIR elsewhere")


def _fill(spool: sqlite3.Connection, records: Iterator[Good | Bad]) -> None:
    spool.execute("BEGIN")
    for record in records:
        row = record if isinstance(record, Bad) else _keep(spool, record)
        if row is not None:
            spool.execute("INSERT INTO bad VALUES (?, ?, ?, ?)", (row.line, row.what, row.mend, row.raw))
    spool.execute("COMMIT")


def _keep(spool: sqlite3.Connection, record: Good) -> Bad | None:
    """Keep the record, or say which line has its key already."""
    payload = json.dumps(record.payload, ensure_ascii=False, separators=(",", ":"))
    kept = spool.execute("INSERT OR IGNORE INTO good VALUES (?, ?, ?)", (record.line, record.key, payload))
    if kept.rowcount:
        return None
    (first,) = spool.execute("SELECT line FROM good WHERE key = ?", (record.key,)).fetchone()
    what = f"the key {record.key!r} stands already in line {first}"
    mend = "give it a key of its own, or remove one of the two"
    return Bad(line=record.line, what=what, mend=mend, raw=payload[:LONGEST_RAW])


def _checked(spool: sqlite3.Connection) -> Checked:
    (good,) = spool.execute("SELECT count(*) FROM good").fetchone()
    (bad_count,) = spool.execute("SELECT count(*) FROM bad").fetchone()
    return Checked(good=good, bad_count=bad_count, bad=list(_bad_rows(spool, _MOST_BAD)), _spool=spool)


def _bad_rows(spool: sqlite3.Connection, most: int = -1) -> Iterator[Bad]:
    query = "SELECT line, what, mend, raw FROM bad ORDER BY line LIMIT ?"
    with closing(spool.execute(query, (most,))) as rows:
        for line, what, mend, raw in rows:
            yield Bad(line=line, what=what, mend=mend, raw=raw)
