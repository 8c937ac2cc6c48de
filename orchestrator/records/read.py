"""Opens a file of records by its ending, and says plainly when it is no such file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.errors import IntakeError
from orchestrator.limits import LIMITS, Limits
from orchestrator.records.delimited import read_delimited
from orchestrator.records.jsonl import read_jsonl
from orchestrator.records.lines import Meter, OnProgress
from orchestrator.records.parquet import read_parquet
from orchestrator.records.record import Bad, Good, RecordSpec

_Reader = Callable[[Path, RecordSpec, Limits, Meter], Iterator[Good | Bad]]

_READERS: dict[str, tuple[_Reader, str]] = {
    ".jsonl": (read_jsonl, "only blank lines"),
    ".ndjson": (read_jsonl, "only blank lines"),
    ".csv": (read_delimited, "a header and no rows"),
    ".tsv": (read_delimited, "a header and no rows"),
    ".parquet": (read_parquet, "columns and no rows"),
}


def open_records(
    path: Path, spec: RecordSpec, limits: Limits = LIMITS, on_progress: OnProgress | None = None
) -> Iterator[Good | Bad]:
    """Stream the records of a file; the whole is never in memory.

    Args:
        path: its ending chooses the format.
        spec: the fields a record must have.
        limits: what is longer or deeper is reported.
        on_progress: called with bytes read and bytes in all.

    Raises:
        IntakeError: now, if there is no such file; while reading, if it is not what its ending says.
    """
    if path.suffix.lower() not in _READERS:
        endings = " ".join(_READERS)
        raise IntakeError(f"{path}: the ending tells the format; it must be one of {endings} (unpack .gz first)")
    if path.is_dir():
        raise IntakeError(f"{path} is a folder: name one file in it")
    if not path.exists():
        raise IntakeError(f"{path} does not exist: check the path, relative to {Path.cwd()}")
    return _records(path, spec, limits, Meter(path.stat().st_size, on_progress))


def _records(path: Path, spec: RecordSpec, limits: Limits, meter: Meter) -> Iterator[Good | Bad]:
    reader, nothing = _READERS[path.suffix.lower()]
    empty = True
    try:
        for record in reader(path, spec, limits, meter):
            empty = False
            yield record
    except OSError as error:
        raise IntakeError(f"{path} cannot be read: {error.strerror or error}") from error
    if empty:
        raise IntakeError(f"{path} has {nothing}: give a file with at least one record")
