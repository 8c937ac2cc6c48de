"""GGUF files served inside this process by llama.cpp (the `xllamacpp` wheel): no daemon, one extra to install.

Each loaded model is a llama.cpp server of its own on a free port of 127.0.0.1, spoken to like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.domain import Backend
from orchestrator.errors import ConfigError, SetupError
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Reply, Request, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """How a model's server is spoken to; `context` is in tokens, for each of its slots."""

    endpoint: OpenAIEndpoint
    context: int


class LlamaCppEndpoint:
    """Serves the GGUF files it was given, by name."""

    backend = Backend.LLAMACPP

    def __init__(self, *, name: str, files: Mapping[str, Path], slots: int, threads: int) -> None:
        self.name = name
        self._files = dict(files)
        self._slots = slots
        self._threads = threads
        self._running: dict[str, _Running] = {}
        # Apart, because an error keeps alive all that the calls it went through held: none of them may hold a server.
        self._servers: dict[str, Any] = {}
        # Without a key any web page open on this machine could call a server on loopback.
        self._key = secrets.token_urlsafe()

    async def available(self) -> frozenset[str] | None:
        """The names whose files are there."""
        return frozenset(name for name, path in self._files.items() if path.is_file())

    async def loaded(self) -> frozenset[str]:
        """The models with a server in this process."""
        return frozenset(self._running)

    async def load(self, model: str, sampling: Sampling) -> None:
        """Start a server for a model, or one with more room; `context` tokens for each of its slots."""
        running = self._running.get(model)
        if running is not None and running.context >= sampling.context:
            return
        await self.unload(model)
        path = self._files.get(model)
        if path is None or not path.is_file():
            raise SetupError(
                f"endpoint {self.name!r} has no GGUF file for {model!r}: {path or 'not named in its gguf table'}"
            )
        server = await asyncio.to_thread(self._start, path, sampling.context)
        wire = Wire(f"{server.listening_address}/v1", api_key=SecretStr(self._key))
        self._servers[model] = server
        endpoint = OpenAIEndpoint(name=self.name, wire=wire, one_model=True)
        self._running[model] = _Running(endpoint=endpoint, context=sampling.context)

    async def unload(self, model: str) -> None:
        """Stop a model's server and give its memory back."""
        running = self._running.pop(model, None)
        if running is None:
            return
        # The last reference ends the server; it joins its threads, which would hold the event loop up.
        holder = [self._servers.pop(model)]
        await running.endpoint.close()
        await asyncio.to_thread(holder.clear)

    async def files(self) -> Mapping[str, ModelFile]:
        """The size of each GGUF file, and by size and time of change what it is known by."""
        found = {}
        for name, path in self._files.items():
            with contextlib.suppress(OSError):
                facts = path.stat()
                digest = f"{facts.st_size:x}-{facts.st_mtime_ns:x}"
                found[name] = ModelFile(digest=digest, gib=facts.st_size / 2**30)
        return found

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """Nothing: each name gets a server of its own, whatever its file."""
        return {}

    async def pressure(self) -> Pressure | None:
        """It cannot tell."""
        return None

    async def speak(self, request: Request) -> Reply:
        """One call of a loaded model."""
        running = self._running.get(request.model)
        if running is None:
            raise SetupError(f"{request.model!r} is not loaded on endpoint {self.name!r}")
        return await running.endpoint.speak(request)

    async def close(self) -> None:
        """Stop all servers."""
        for model in list(self._running):
            await self.unload(model)

    def wire_to(self, model: str) -> Wire:
        """The wire that calls of a loaded model go by. Raises SetupError for one that is not loaded."""
        running = self._running.get(model)
        if running is None:
            raise SetupError(f"{model!r} is not loaded on endpoint {self.name!r}")
        return running.endpoint.wire_to(model)

    def _start(self, path: Path, context: int) -> Any:
        try:
            import xllamacpp  # noqa: PLC0415 -- an optional extra
        except ImportError as error:
            raise ConfigError(
                "the llamacpp backend needs an extra: pip install 'debate-orchestrator[llamacpp]'"
            ) from error
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context * self._slots
        params.n_parallel = self._slots
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [self._key]
        params.cpuparams.n_threads = self._threads
        params.verbosity = 0
        try:
            server = xllamacpp.Server(params)
            # One that is stopped before its first call may never end: its loop has not begun, and misses the word.
            server.handle_completions({"prompt": ".", "max_tokens": 1})
            return server
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"{path} cannot be loaded: {error}") from error
