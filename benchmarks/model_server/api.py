"""What the two kinds of server have in common: a model of time behind sockets, its counts, and its book of calls."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeAlias

from aiohttp import web

from tests.servers.ollama_calls import Call as CallRecord
from tests.servers.ollama_calls import OpenCall
from tests.servers.ollama_replies import Tokens

from .counts import Counts
from .events import Simulation
from .pace import Pace
from .profile import Profile
from .sharing import Gpu

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json: TypeAlias = dict[str, Any]


class Host:
    """The parts every server has."""

    def __init__(self, profile: Profile, scale: float, grace_s: float) -> None:
        self.profile = profile
        self.sim = Simulation()
        self.counts = Counts(self.sim)
        self.pace = Pace(self.sim, scale, grace_s)
        self.rule = Tokens(chars_per_token=profile.replies.chars_per_token)


class Api(Protocol):
    """One kind of server."""

    @property
    def gpu(self) -> Gpu:
        """What it computes on."""

    def routes(self) -> list[web.RouteDef]:
        """The paths it knows."""

    async def answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Answer a call, or refuse it in the server's words."""


class Book:
    """Counts calls, and writes each with its times to a file if there is one; keeps none, for there may be many."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seq = 0
        self._file: TextIO | None = None
        self._closing = ExitStack()

    def open(self) -> None:
        """Open the file, to append to it."""
        if self._path is not None:
            self._file = self._closing.enter_context(self._path.open("a", encoding="utf-8"))

    def close(self) -> None:
        """Close the file."""
        self._file = None
        self._closing.close()

    def begin(self, path: str, started: float) -> OpenCall:
        """Count a call that has just arrived."""
        self._seq += 1
        kind = "chat" if path.startswith("/v1/chat/") else path.rpartition("/")[2] or "root"
        return OpenCall(seq=self._seq, path=path, kind=kind, started=started, write=self._write)

    def _write(self, call: CallRecord) -> None:
        if self._file is not None:
            self._file.write(json.dumps(asdict(call)) + "\n")
            self._file.flush()


def stats(host: Host, gpu: Gpu) -> Json:
    """`/_stats`: the counts, GPU seconds by model and phase, and by how many real seconds an event was late at most."""
    with host.pace.present():
        gpu.settle()
        counted = host.counts.as_json()
    spent: dict[str, dict[str, float]] = {}
    for (model, phase), seconds in gpu.spent.items():
        spent.setdefault(model, {})[phase.value] = seconds
    return {**counted, "gpu_s": spent, "late_s": host.pace.late_s}


def reset(host: Host, gpu: Gpu) -> None:
    """Count anew; models and caches stay as they are."""
    with host.pace.present():
        gpu.settle()
        gpu.spent.clear()
        host.counts.reset()
        host.pace.late_s = 0.0


def header(request: web.Request, name: str) -> str:
    """A header's value, empty if there is none."""
    headers: Mapping[str, str] = request.headers
    return headers.get(name, "")
