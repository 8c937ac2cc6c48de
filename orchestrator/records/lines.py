"""Lines of a file in flat memory: a line that is too long is passed over in chunks, and only its beginning is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import IntakeError
from orchestrator.records.record import LONGEST_RAW

OnProgress = Callable[[int, int], None]

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 16
_STEP = 1 << 20
_FOREIGN = {
    b"\x1f\x8b": "is compressed with gzip: unpack it first (gunzip FILE)",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first (zstd -d FILE)",
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"PAR1": "is a Parquet file: rename it to end in .parquet",
    b"\xff\xfe": "is UTF-16: convert it (iconv -f utf-16 -t utf-8 FILE > NEW)",
    b"\xfe\xff": "is UTF-16: convert it (iconv -f utf-16 -t utf-8 FILE > NEW)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, ending included; only its beginning if it is not `whole`. `size`, in bytes, leaves the ending out."""

    number: int
    raw: bytes
    size: int
    whole: bool


class Meter:
    """Tells how far reading has come, at most once a MiB and once at the end."""

    def __init__(self, total: int, on_progress: OnProgress | None = None) -> None:
        """`total` is in bytes; without `on_progress` nothing is told."""
        self.total = total
        self._on_progress = on_progress
        self._read = 0
        self._told = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes."""
        self._read += size
        if self._read - self._told >= _STEP:
            self._tell()

    def finish(self) -> None:
        """Tell that all was read."""
        self._read = max(self._read, self.total)
        self._tell()

    def _tell(self) -> None:
        self._told = self._read
        if self._on_progress:
            self._on_progress(min(self._read, self.total), self.total)


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a text file behind its byte order mark; refuse an empty one, and other kinds by their first bytes."""
    with path.open("rb") as stream:
        start = stream.peek(4)
        for magic, what in _FOREIGN.items():
            if start.startswith(magic):
                raise IntakeError(f"{path} {what}")
        if start.startswith(_BOM):
            stream.read(len(_BOM))
        if not stream.peek(1):
            raise IntakeError(f"{path} is empty: give a file with at least one record")
        yield stream


def read_lines(stream: BinaryIO, longest: int, meter: Meter) -> Iterator[Line]:
    """Yield the lines of a stream; none takes more than `longest` bytes of memory."""
    number = 0
    while raw := stream.readline(longest + 2):
        number += 1
        meter.add(len(raw))
        rest, tail = _skip_line(stream, raw[-2:], meter)
        size = len(raw) + rest - _ending(tail)
        whole = size <= longest and not rest
        yield Line(number=number, raw=raw if whole else raw[: LONGEST_RAW * 4], size=size, whole=whole)
    meter.finish()


def _skip_line(stream: BinaryIO, tail: bytes, meter: Meter) -> tuple[int, bytes]:
    """Return how many bytes were passed over, and the last two of the line."""
    size = 0
    while not tail.endswith(b"\n") and (chunk := stream.readline(_CHUNK)):
        size += len(chunk)
        tail = (tail + chunk)[-2:]
        meter.add(len(chunk))
    return size, tail


def _ending(tail: bytes) -> int:
    if tail.endswith(b"\r\n"):
        return 2
    return 1 if tail.endswith(b"\n") else 0
