"""Writes rows as JSONL, CSV or Parquet: one row in memory, or one group of rows, and a whole file or none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from orchestrator.errors import OrchestrateError
from orchestrator.records.arrow import load_arrow
from orchestrator.records.atomic import replacing
from orchestrator.records.cells import Column, harmless, json_text, storable, value_of, visible

_GROUP = 2_000  # rows of a Parquet row group, the only rows in memory

_Rows = Iterable[Mapping[str, object]]
_Writer = Callable[[BinaryIO, _Rows, Sequence[Column]], int]


def write_rows(
    path: Path, rows: _Rows, columns: Sequence[Column], *, force: bool = False, stdout: TextIO | None = None
) -> int:
    """Write the named columns of the rows and return how many rows there were.

    Args:
        path: its ending chooses the format: .jsonl, .csv or .parquet; `-` is JSONL to `stdout`.
        rows: a column a row lacks is null; what a row has beyond the columns is left out.
        columns: names and kinds, in the file's order.
        force: replace an existing file.
        stdout: where `-` writes to.

    Raises:
        OrchestrateError: the file exists, cannot be written, or a value is not of its column's kind.
    """
    if str(path) == "-":
        if stdout is None:
            raise ValueError("'-' needs the stream to write to")
        return _write_stream(stdout, rows, columns)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise OrchestrateError(f"{path}: the ending chooses the format; it must be one of {' '.join(_WRITERS)}")
    if path.exists() and not force:
        raise OrchestrateError(f"{path} exists: add --force to replace it, or name another file")
    with replacing(path) as stream:
        return writer(stream, rows, columns)


def _write_stream(stream: TextIO, rows: _Rows, columns: Sequence[Column]) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007  # the last number is the count
        stream.write(_json_line(row, columns))
    return count


def _write_jsonl(stream: BinaryIO, rows: _Rows, columns: Sequence[Column]) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007  # the last number is the count
        stream.write(_json_line(row, columns).encode())
    return count


def _json_line(row: Mapping[str, object], columns: Sequence[Column]) -> str:
    cells = (f"{json.dumps(one.name, ensure_ascii=False)}:{_json_cell(row.get(one.name), one)}" for one in columns)
    return f"{{{','.join(cells)}}}\n"


def _json_cell(value: object, column: Column) -> str:
    cell = value_of(value, column)
    if column.kind == "time" and cell is not None:
        cell = cell.isoformat()
    return storable(json_text(cell, column))


def _write_csv(stream: BinaryIO, rows: _Rows, columns: Sequence[Column]) -> int:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    out = csv.writer(text, lineterminator="\n")
    out.writerow([harmless(storable(column.name)) for column in columns])
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007  # the last number is the count
        out.writerow([_csv_cell(row.get(column.name), column) for column in columns])
    # Without detaching, the wrapper would close the file before it is synced.
    text.detach()
    return count


def _csv_cell(value: object, column: Column) -> Any:
    cell = value_of(value, column)
    if cell is None:
        return None
    match column.kind:
        case "text":
            return harmless(storable(cell))
        case "json":
            return visible(storable(json_text(cell, column)))
        case "time":
            return cell.isoformat()
        case "integer" | "number":
            return cell


def _write_parquet(stream: BinaryIO, rows: _Rows, columns: Sequence[Column]) -> int:
    arrow, parquet = load_arrow()
    types = {
        "text": arrow.string(),
        "json": arrow.string(),
        "integer": arrow.int64(),
        "number": arrow.float64(),
        "time": arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    count = 0
    left = iter(rows)
    with parquet.ParquetWriter(stream, schema) as out:
        while group := list(islice(left, _GROUP)):
            cells = [[_parquet_cell(row.get(column.name), column) for row in group] for column in columns]
            arrays = [arrow.array(one, type=field.type) for one, field in zip(cells, schema, strict=True)]
            out.write_batch(arrow.record_batch(arrays, schema=schema))
            count += len(group)
    return count


def _parquet_cell(value: object, column: Column) -> Any:
    cell = value_of(value, column)
    if cell is None:
        return None
    if column.kind == "json":
        return storable(json_text(cell, column))
    return storable(cell) if column.kind == "text" else cell


_WRITERS: Mapping[str, _Writer] = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}
