"""Reads Parquet: a row becomes the JSON object that JSONL would have held, or it is refused."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.arrow import load_arrow
from orchestrator.records.lines import Meter
from orchestrator.records.record import LONGEST_RAW, Bad, Flaw, Good, RecordSpec, admit, bad, missing, too_long

_ROWS = 256
_BUFFER = 1 << 20
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class _UnfitError(ValueError):
    """A value has no place in JSON."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.flaw = Flaw(what=what, mend=mend)


class _Values:
    """Turns the values of one row into JSON's, and counts their text."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.size = 0

    def plain(self, value: Any, depth: int) -> Any:
        """Return a value that JSON can hold; `depth` is that of the object around it."""
        self.size += 1
        if isinstance(value, list | tuple | dict):
            return self._container(value, depth + 1)
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, float):
            return _finite(value)
        return _written(value)

    def _container(self, value: list[Any] | tuple[Any, ...] | dict[str, Any], depth: int) -> Any:
        if depth > self._limits.depth:
            raise _UnfitError(f"it is nested deeper than {self._limits.depth} levels", "flatten the column")
        if isinstance(value, dict):
            return {self._text(name): self.plain(one, depth) for name, one in value.items()}
        return [self.plain(one, depth) for one in value]

    def _text(self, text: str) -> str:
        self.size += len(text)
        if "\0" in text:
            raise _UnfitError("it holds a NUL character", "take the character out")
        return text


def read_parquet(path: Path, spec: RecordSpec, limits: Limits, meter: Meter) -> Iterator[Good | Bad]:
    """Yield one value for each row; `line` is the row's number."""
    arrow, parquet = load_arrow()
    broken = (arrow.ArrowException, OSError, ValueError, OverflowError)
    if path.stat().st_size == 0:
        raise IntakeError(f"{path} is empty: give a file with at least one record")
    try:
        with arrow.OSFile(str(path)) as source:
            file = parquet.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER)
            names = file.schema_arrow.names
            _check_columns(path, names, spec)
            share = meter.total // max(file.metadata.num_rows, 1)
            for number, scalars in enumerate(_rows(file), start=1):
                meter.add(share)
                yield _record(number, dict(zip(names, scalars, strict=True)), spec, limits)
    except broken as error:
        said = " ".join(str(error).split())[:200]
        raise IntakeError(f"{path} cannot be read as Parquet ({said}): write or copy the file again") from error
    meter.finish()


def _rows(file: Any) -> Iterator[tuple[Any, ...]]:
    for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
        yield from zip(*batch.columns, strict=True)


def _check_columns(path: Path, names: Iterable[str], spec: RecordSpec) -> None:
    names = list(names)
    for name in (spec.key, *spec.required):
        if name not in names:
            flaw = missing(name, names, "column")
            raise IntakeError(f"{path}: {flaw.what}: {flaw.mend}")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise IntakeError(f"{path}: the column {name[:60]!r} stands there twice: rename or remove one of the two")


def _record(number: int, scalars: dict[str, Any], spec: RecordSpec, limits: Limits) -> Good | Bad:
    values = _Values(limits)
    fields: dict[str, Any] = {}
    for name, scalar in scalars.items():
        try:
            value = values.plain(_python(scalar), 1)
        except _UnfitError as error:
            flaw = Flaw(what=f"the column {name[:60]!r}: {error.flaw.what}", mend=error.flaw.mend)
            return bad(number, flaw, _raw(fields))
        if value is not None or name in (spec.key, *spec.required):
            fields[name] = value
    key = too_long(values.size, limits) if values.size > limits.longest_line else admit(fields, spec, limits)
    if isinstance(key, Flaw):
        return bad(number, key, _raw(fields))
    return Good(line=number, key=key, payload=fields)


def _python(scalar: Any) -> Any:
    unit = getattr(scalar.type, "unit", None)
    if unit in _UNITS and type(scalar).__name__ == "TimestampScalar":
        return _instant(scalar.value, unit)
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, TypeError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:100]
        raise _UnfitError(f"its value cannot be read ({said})", "cast the column to text") from error


def _instant(value: int | None, unit: str) -> str | None:
    """From the integer itself: as_py loses nanoseconds and needs a time zone database."""
    if value is None:
        return None
    seconds, fraction = divmod(value, _UNITS[unit])
    try:
        text = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError as error:
        raise _UnfitError("its time is outside the years 1 to 9999", "mend the time, or cast it to text") from error
    digits = len(str(_UNITS[unit])) - 1
    return f"{text}.{fraction:0{digits}d}+00:00" if fraction else f"{text}+00:00"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _UnfitError(f"{value} is not a number that JSON has", "write null instead")
    return value


def _written(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC).isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        raise _UnfitError("it holds bytes", "cast it to text, or leave the column out")
    raise _UnfitError(f"it holds a {type(value).__name__}, which JSON has not", "cast the column to text")


def _raw(fields: dict[str, Any]) -> str:
    clipped = {name: one[:LONGEST_RAW] if isinstance(one, str) else one for name, one in fields.items()}
    return json.dumps(clipped, ensure_ascii=False)
