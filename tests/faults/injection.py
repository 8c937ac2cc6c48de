"""What a forked command does besides its work: notes where it is, kills itself there, notes what was acknowledged.

The program itself knows nothing of it. Statements are seen by SQLAlchemy's own events, calls and acknowledgements by
wrapping the functions that make them.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from orchestrator.app.clock import SystemClock
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.ports import Reply, Request
from orchestrator.scheduler import commits, visits
from orchestrator.store import engine

SKEW = struct.Struct("=dd")  # seconds to add to the time, and how many seconds pass in one
_ADDRESSES = 4 * 2**30  # bytes that a process may have which is to run out of memory
_TOO_MUCH = 8 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What to put in.

    Attributes:
        points: file to which the name of every point passed is appended.
        crash_at: the point to kill the process at.
        crash_time: at which passing of that point, from 1.
        acknowledged: file to which every acknowledged turn is appended: monotonic time, task, role, round and token.
        skew: file that says how wrong the clock is, as SKEW packs it; may change at any time.
        busy_s: seconds to wait for a lock, in place of the program's own.
        longest: bytes that no file may grow beyond, as if the disk were full; 0: any.
        poison: key of a record that ends the process as soon as a call for it has been answered.
        hungry: it eats the memory instead.
    """

    points: str = ""
    crash_at: str = ""
    crash_time: int = 1
    acknowledged: str = ""
    skew: str = ""
    busy_s: float = 0.0
    longest: int = 0
    poison: str = ""
    hungry: bool = False


def install(wanted: Injection) -> None:
    """Put it into this process."""
    if wanted.points or wanted.crash_at:
        _watch(Points(wanted))
    if wanted.acknowledged:
        _note_acknowledged(wanted.acknowledged)
    if wanted.skew:
        _skew(wanted.skew)
    if wanted.busy_s:
        engine.BUSY_S = wanted.busy_s
    if wanted.longest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted.longest, wanted.longest))
    if wanted.poison:
        _poison(wanted.poison, wanted.hungry)


class Points:
    """Counts the points passed by name, and ends the process at the one asked for."""

    def __init__(self, wanted: Injection) -> None:
        """Nothing has been passed yet."""
        self.spoke = "start"  # the role that was called last
        self.writing = False  # between BEGIN and the end of COMMIT
        self._wanted = wanted
        self._passed: Counter[str] = Counter()
        self._log = _append(wanted.points) if wanted.points else None

    def passing(self, what: str) -> None:
        """A point: its name says which role was called last and what is about to happen or has just happened."""
        name = f"{self.spoke}: {what}"
        self._passed[name] += 1
        if self._log is not None:
            os.write(self._log, f"{name}\n".encode())
        if name == self._wanted.crash_at and self._passed[name] == self._wanted.crash_time:
            os.kill(os.getpid(), signal.SIGKILL)


def statement_name(sql: str) -> str:
    """BEGIN, COMMIT, or a verb and its table."""
    words = sql.split()
    verb = words[0].upper()
    match verb:
        case "INSERT":
            return f"INSERT {words[2]}"
        case "UPDATE":
            return f"UPDATE {words[1]}"
        case _:
            return verb


def _watch(points: Points) -> None:
    @event.listens_for(Engine, "before_cursor_execute")
    def _before(_connection: object, _cursor: object, sql: str, *_more: object) -> None:
        points.writing = points.writing or sql.startswith("BEGIN IMMEDIATE")
        if points.writing:
            points.passing(f"before {statement_name(sql)}")

    @event.listens_for(Engine, "after_cursor_execute")
    def _after(_connection: object, _cursor: object, sql: str, *_more: object) -> None:
        if points.writing:
            points.passing(f"after {statement_name(sql)}")
        points.writing = points.writing and sql not in ("COMMIT", "ROLLBACK")

    tell = commits._tell

    def _tell(outcomes: list[Any]) -> None:
        points.passing("before the acknowledgement")
        tell(outcomes)
        points.passing("after the acknowledgement")

    commits._tell = _tell
    for name in ("speak", "load", "unload"):
        setattr(OllamaEndpoint, name, _around(points, name, getattr(OllamaEndpoint, name)))


def _around(points: Points, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    async def _called(self: OllamaEndpoint, *given: Any) -> Any:
        if name == "speak":
            points.spoke = given[0].model
        points.passing(f"before the {name} call")
        answer = await call(self, *given)
        points.passing(f"after the {name} call")
        return answer

    return _called


def _note_acknowledged(path: str) -> None:
    log, do = _append(path), commits.Commits.do

    async def _do(self: commits.Commits, verb: Any) -> Any:
        answer = await do(self, verb)
        if answer is True and getattr(verb, "func", None) is visits._record:
            spoken = verb.args[0]
            noted = f"{time.monotonic()} {spoken.task_id} {spoken.turn.role} {spoken.turn.round} {spoken.token}\n"
            os.write(log, noted.encode())
        return answer

    commits.Commits.do = _do  # type: ignore[method-assign]


def _skew(path: str) -> None:
    with Path(path).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), SKEW.size)
    real = SystemClock.now
    began = real(SystemClock())

    def _now(self: SystemClock) -> datetime:
        skew: tuple[float, float] = SKEW.unpack(shared[: SKEW.size])
        offset, rate = skew
        now = real(self)
        return now + timedelta(seconds=offset) + (now - began) * (rate - 1)

    SystemClock.now = _now  # type: ignore[method-assign]


def _poison(key: str, hungry: bool) -> None:
    speak = OllamaEndpoint.speak
    if hungry:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))

    @wraps(speak)
    async def _speak(self: OllamaEndpoint, request: Request) -> Reply:
        reply = await speak(self, request)
        if any(f"Title: {key} " in message.content for message in request.messages):
            if not hungry:
                os.kill(os.getpid(), signal.SIGKILL)
            bytearray(_TOO_MUCH)
        return reply

    OllamaEndpoint.speak = _speak  # type: ignore[method-assign]


def _append(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
