"""A disk that notes each write and each sync in order, so that the power can be cut between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Literal

import apsw

SECTOR = 512  # bytes that a disk writes as a whole; SQLite relies on no more
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that happened to a file; a `mark` is a remark of the test's, about no file.

    A sync that failed is a `drop`: Linux forgets what it could not write, and the next sync succeeds without it.
    """

    kind: Literal["write", "cut", "sync", "drop", "delete", "mark"]
    file: str = ""
    at: int = 0  # where a write begins, or the length after a cut
    content: bytes = b""
    remark: Any = None


class DiskError(apsw.IOError):
    """What the file system answers SQLite with; SQLite reads the code."""

    def __init__(self, code: int) -> None:
        """`code` is one of SQLite's extended result codes."""
        super().__init__(f"the disk fails with {code}")
        self.result = code & 0xFF
        self.extendedresult = code


class Disk:
    """A VFS for apsw over real files, by the name `vfs`.

    Attributes:
        ops: what happened, oldest first.
        before: what each file held when it was first opened.
        fault: asked before each write and each sync; the SQLite code it gives fails that call.
    """

    def __init__(self) -> None:
        """Register with apsw; lasts until `close`."""
        self.vfs = f"disk-{next(_NUMBERS)}"
        self.ops: list[Op] = []
        self.before: dict[str, bytes] = {}
        self.fault: Callable[[Op], int | None] = lambda _op: None
        self._registered = _Vfs(self)

    def close(self) -> None:
        """Take the VFS away; its files must be closed."""
        self._registered.unregister()

    def mark(self, remark: object) -> None:
        """Note something between two operations."""
        self.ops.append(Op("mark", remark=remark))

    def opened(self, path: Path) -> None:
        """A file is about to be opened."""
        if path.name not in self.before:
            self.before[path.name] = path.read_bytes() if path.exists() else b""

    def note(self, op: Op) -> None:
        """An operation is about to happen; raises DiskError if it is to fail."""
        code = self.fault(op)
        if code is not None:
            if op.kind == "sync":
                self.ops.append(Op("drop", op.file))
            raise DiskError(code)
        self.ops.append(op)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.vfs, "")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- apsw's name
        if name is None:
            return apsw.VFSFile("", None, flags)
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 -- apsw's name
        super().xDelete(filename, syncdir)
        self._disk.note(Op("delete", Path(filename).name))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        path = Path(name if isinstance(name, str) else name.filename())
        disk.opened(path)
        super().__init__("", name, flags)
        self._disk, self._file = disk, path.name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 -- apsw's name
        self._disk.note(Op("write", self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 -- apsw's name
        self._disk.note(Op("cut", self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- apsw's name
        # Not handed on: the test's own machine keeps its power.
        self._disk.note(Op("sync", self._file))


class Platter:
    """What the disk holds after so many operations: what was synced, and what was written since."""

    def __init__(self, before: Mapping[str, bytes]) -> None:
        """Begin with what the files held."""
        self._synced = {name: bytearray(content) for name, content in before.items()}
        self._since: dict[str, list[Op]] = {name: [] for name in before}
        self._named = {name for name, content in before.items() if content}
        self._deleted: dict[str, bytearray] = {}  # the folder was not synced since

    def take(self, op: Op) -> None:
        """Let one more operation happen."""
        if op.kind == "mark":
            return
        since = self._since.setdefault(op.file, [])
        if op.kind == "sync":
            synced = self._synced.setdefault(op.file, bytearray())
            for earlier in since:
                _apply(earlier, synced)
            if op.file not in self._named:
                # SQLite syncs the folder with the first sync of a journal that it made.
                self._named.add(op.file)
                self._deleted.clear()
        if op.kind == "delete":
            self._deleted[op.file] = self._synced.pop(op.file, bytearray())
            self._named.discard(op.file)
        if op.kind in ("write", "cut"):
            since.append(op)
        else:
            since.clear()

    def as_written(self) -> dict[str, bytes]:
        """The files as the system sees them, and as SIGKILL leaves them."""
        return self._left(lambda op: [op])

    def as_synced(self) -> dict[str, bytes]:
        """The files after a power cut that took all that was not synced."""
        return self._left(lambda _op: [])

    def as_torn(self, chance: Random) -> dict[str, bytes]:
        """The files after a power cut that took any sectors that were not synced, and maybe brought a file back."""
        left = self._left(lambda op: _torn(op, chance))
        back = {name: bytes(content) for name, content in self._deleted.items() if chance.random() < 0.5}
        return left | {name: content for name, content in back.items() if not left.get(name)}

    def _left(self, keeps: Callable[[Op], list[Op]]) -> dict[str, bytes]:
        left = {}
        for name in self._synced.keys() | self._since.keys():
            content = bytearray(self._synced.get(name, b""))
            for op in self._since.get(name, ()):
                for kept in keeps(op):
                    _apply(kept, content)
            left[name] = bytes(content)
        return left


def _apply(op: Op, content: bytearray) -> None:
    if op.kind == "cut":
        del content[op.at :]
        return
    content.extend(bytes(max(0, op.at - len(content))))
    content[op.at : op.at + len(op.content)] = op.content


def _torn(op: Op, chance: Random) -> list[Op]:
    """What reached the disk of one operation: all, nothing, or some of its sectors."""
    fate = chance.random()
    if fate < 1 / 3:
        return []
    if fate < 2 / 3 or op.kind == "cut":
        return [op]
    starts = range(0, len(op.content), SECTOR)
    return [
        Op("write", op.file, op.at + start, op.content[start : start + SECTOR])
        for start in starts
        if chance.random() < 0.5
    ]
