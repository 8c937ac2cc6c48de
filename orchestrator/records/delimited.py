"""Reads CSV and TSV: a row may span lines, so lines are kept until their row is whole and read again if it never is."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.cells import OWN_COLUMNS, OWN_RECORD, as_it_was
from orchestrator.records.lines import Line, Meter, open_text, read_lines
from orchestrator.records.record import Bad, Flaw, Good, RecordSpec, admit, bad, missing, too_long, wrong_byte

_MOST_LINES = 10_000  # of one row; bounds memory where an open quote is followed by blank lines
_MOST_REREADS = 100  # bounds time: each may read as much as the longest row again


class _NeverEndsError(ValueError):
    """A row goes on beyond the limits."""


class _Feed:
    """Lines for `csv.reader`, remembered until their row is whole."""

    def __init__(self, path: Path, lines: Iterator[Line], limits: Limits) -> None:
        self._path = path
        self._lines = lines
        self._again: deque[Line] = deque()
        self._limits = limits
        self._rereads = 0
        self.taken: list[Line] = []
        self.size = 0
        self.flaw: Flaw | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.size > self._limits.longest_line or len(self.taken) >= _MOST_LINES:
            raise _NeverEndsError
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self.size += line.size
        if not line.whole:
            raise _NeverEndsError
        try:
            return line.raw.decode()
        except UnicodeDecodeError as error:
            # The row must still be read to its end, or its other lines would be taken for rows.
            self.flaw = self.flaw or wrong_byte(line.raw, error, line.number)
            return line.raw.decode("utf-8", "surrogateescape")

    def begin(self) -> None:
        """Start a row."""
        self.taken = []
        self.size = 0
        self.flaw = None

    def give_up(self, error: Exception) -> Bad:
        """Report the row's first line as bad and read its other lines again, as rows of their own."""
        first, *others = self.taken
        if others:
            self._rereads += 1
            self._again.extendleft(reversed(others))
        if self._rereads > _MOST_REREADS:
            what = f"{self._path}, line {first.number}: {_MOST_REREADS} rows before it have quotes that do not match"
            raise IntakeError(f"{what}: write the file again, a quote inside a cell doubled")
        if not first.whole:
            return bad(first.number, too_long(first.size, self._limits), first.raw)
        return bad(first.number, _row_flaw(error), first.raw)

    def raw(self) -> bytes:
        """Return the row as it stands in the file."""
        return b"".join(line.raw for line in self.taken)


def read_delimited(path: Path, spec: RecordSpec, limits: Limits, meter: Meter) -> Iterator[Good | Bad]:
    """Yield one value for each row below the header."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    # The csv module has one limit for the whole process, 128 KiB; our own limits are stricter per row.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * limits.longest_line + 4))
    with open_text(path) as stream:
        feed = _Feed(path, read_lines(stream, limits.longest_line, meter), limits)
        rows = _rows(feed, delimiter)
        names = _header(path, next(rows, None), feed, spec)
        for row in rows:
            yield row if isinstance(row, Bad) else _record(names, row, feed, spec, limits)


def _rows(feed: _Feed, delimiter: str) -> Iterator[list[str] | Bad]:
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _NeverEndsError) as error:
            yield feed.give_up(error)
            continue
        if len(feed.taken) > 1 or feed.raw().strip(b" \r\n"):
            yield cells


def _header(path: Path, row: list[str] | Bad | None, feed: _Feed, spec: RecordSpec) -> list[str]:
    if row is None:
        raise IntakeError(f"{path} has only blank lines: give a file with a header and at least one row")
    if isinstance(row, Bad):
        raise IntakeError(f"{path}, header: {row.what}: {row.mend}")
    flaw = feed.flaw or _header_flaw([name.strip() for name in row], spec)
    if flaw:
        raise IntakeError(f"{path}, header: {flaw.what}: {flaw.mend}")
    return [name.strip() for name in row]


def _header_flaw(names: list[str], spec: RecordSpec) -> Flaw | None:
    for name in (spec.key, *spec.required):
        if name not in names and len(names) == 1 and any(mark in names[0] for mark in ";\t|,"):
            return Flaw(what="the columns are not separated as the ending says", mend="use , in .csv and tabs in .tsv")
        if name not in names:
            return missing(name, names, "column")
    for place, name in enumerate(names, start=1):
        if not name or "\0" in name:
            mend = "name it, or take it out (pandas: to_csv(index=False))"
            return Flaw(what=f"column {place} has no name", mend=mend)
        if name in names[: place - 1]:
            return Flaw(what=f"the column {name[:60]!r} stands there twice", mend="rename or remove one of the two")
    return None


def _record(names: list[str], cells: list[str], feed: _Feed, spec: RecordSpec, limits: Limits) -> Good | Bad:
    line = feed.taken[0].number
    flaw = feed.flaw or _cells_flaw(names, cells, feed.size, limits)
    if flaw:
        return bad(line, flaw, feed.raw())
    needed = {spec.key, *spec.required}
    pairs = [*zip(names, cells, strict=True)]
    if names[: len(OWN_COLUMNS)] == OWN_COLUMNS:
        pairs = [(name, cell if name == OWN_RECORD else as_it_was(cell)) for name, cell in pairs]
    fields = {name: cell for name, cell in pairs if name in needed or cell.strip()}
    key = admit(fields, spec, limits)
    if isinstance(key, Flaw):
        return bad(line, key, feed.raw())
    return Good(line=line, key=key, payload=fields)


def _cells_flaw(names: list[str], cells: list[str], size: int, limits: Limits) -> Flaw | None:
    if size > limits.longest_line:
        return too_long(size, limits)
    if len(cells) != len(names):
        what = f"{len(cells)} cells, but the header has {len(names)} columns"
        return Flaw(what=what, mend="put cells that hold a separator or a line break in double quotes")
    for name, cell in zip(names, cells, strict=True):
        if "\0" in cell:
            return Flaw(what=f"a NUL character in the column {name!r}", mend="take the character out")
    return None


def _row_flaw(error: Exception) -> Flaw:
    reason = str(error)
    if "expected after" in reason:
        what = "a quote is opened and not closed, or text follows a closing quote"
        return Flaw(what=what, mend="close it; a quote inside a cell is doubled")
    if "new-line character" in reason:
        what = "a carriage return stands outside quotes"
        return Flaw(what=what, mend="end lines with LF or CRLF (mac2unix FILE), or quote the cell")
    return Flaw(what="a quote is opened and never closed", mend="close it; a quote inside a cell is doubled")
