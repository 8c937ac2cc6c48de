"""The book of calls a stand-in keeps: one frozen record each, in memory and, if wanted, as JSON lines in a file."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished call. `seq` counts arrivals from 1; times are monotonic seconds.

    `kind` is `chat`, `load` or `unload` for the two chat paths, else the last word of the path. `model` and `body` are
    as the client sent them, None when they could not be read.
    """

    seq: int
    path: str
    model: str | None
    kind: str
    body: Any
    status: int
    started: float
    finished: float


@dataclass(slots=True, kw_only=True, eq=False)
class OpenCall:
    """A call that is still being answered; `end` writes it down once, whoever comes first."""

    seq: int
    path: str
    kind: str
    started: float
    write: Callable[[Call], None]
    model: str | None = None
    body: Any = None
    ended: bool = False

    def end(self, status: int) -> None:
        """Write the call down, before its reply is sent."""
        if self.ended:
            return
        self.ended = True
        self.write(
            Call(
                seq=self.seq,
                path=self.path,
                model=self.model,
                kind=self.kind,
                body=self.body,
                status=status,
                started=self.started,
                finished=time.monotonic(),
            )
        )


@dataclass(slots=True, kw_only=True, eq=False)
class CallBook:
    """All calls of one server, in the order of their ends."""

    path: Path | None = None
    calls: list[Call] = field(default_factory=list)
    _seq: int = 0
    _file: TextIO | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    def open(self) -> None:
        """Open the file, to append to it."""
        if self.path is not None:
            self._file = self._closing.enter_context(self.path.open("a", encoding="utf-8"))

    def close(self) -> None:
        """Close the file; calls that end later are kept in memory only."""
        self._file = None
        self._closing.close()

    def begin(self, path: str) -> OpenCall:
        """Count a call that has just arrived."""
        self._seq += 1
        kind = "chat" if path.startswith("/v1/chat/") else path.rpartition("/")[2] or "root"
        return OpenCall(seq=self._seq, path=path, kind=kind, started=time.monotonic(), write=self._write)

    def _write(self, call: Call) -> None:
        self.calls.append(call)
        if self._file is not None:
            self._file.write(json.dumps(asdict(call)) + "\n")
            self._file.flush()
