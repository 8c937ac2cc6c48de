"""The server as a whole: entered with `async with`, or run as a program by `__main__`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.servers.ollama_wire import CALL

from .api import Answer, Api, Book, Host, Json, reset, stats
from .ollama_api import OllamaApi
from .profile import Profile, load_profile
from .vllm_api import VllmApi

# Ollama's own log writes it for a client that went away; nobody ever receives it.
CLIENT_GONE = 499
MAX_BODY = 64 * 2**20


class ModelServer:
    """One server of a profile on loopback.

    One simulated second lasts `scale` real ones, and the simulated clock stands still for `grace_s` real seconds
    after every reply. `changes` are `key=value` texts, as for `--set`.
    """

    def __init__(
        self,
        profile: Profile | str,
        *,
        changes: Sequence[str] = (),
        scale: float = 0.01,
        grace_s: float = 0.0,
        port: int = 0,
        calls_file: Path | None = None,
    ) -> None:
        """Nothing listens before the server is entered."""
        self.url = ""
        self.profile = load_profile(profile, changes) if isinstance(profile, str) else profile
        self._host = Host(self.profile, scale, grace_s)
        self._api: Api = OllamaApi(self._host) if self.profile.kind == "ollama" else VllmApi(self._host)
        self._book = Book(calls_file)
        self._port = port
        self._site: web.AppRunner | None = None

    def stats(self) -> Json:
        """What `/_stats` says."""
        return stats(self._host, self._api.gpu)

    def reset(self) -> None:
        """Count anew."""
        reset(self._host, self._api.gpu)

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """What happened when, in simulated seconds."""
        return self._host.counts.timeline

    async def __aenter__(self) -> Self:
        """Listen; `url` is known from here on, and the simulated clock goes."""
        self._book.open()
        app = web.Application(middlewares=[self._answer], client_max_size=MAX_BODY)
        app.add_routes([*self._api.routes(), *self._own_routes()])
        # A client that goes away must give up its place, as on the real servers; nobody waits for a hung call.
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await self._site.setup()
        self._host.pace.start()
        await web.TCPSite(self._site, "127.0.0.1", self._port, backlog=4096).start()
        self.url = f"http://127.0.0.1:{self._site.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop listening."""
        if self._site is not None:
            await self._site.cleanup()
        self._host.pace.stop()
        self._book.close()

    def _own_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_stats", self._get_stats),
            web.post("/_stats/reset", self._post_reset),
            web.get("/_timeline", self._get_timeline),
            web.get("/_profile", self._get_profile),
        ]

    @web.middleware
    async def _answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        # aiohttp passes `handler` by its name, so it cannot be called anything else.
        if request.path.startswith("/_"):
            return await handler(request)
        call = request[CALL] = self._book.begin(request.path, time.monotonic())
        status = 500
        try:
            response = await self._api.answer(request, handler)
            status = response.status
            return response
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            call.end(status)

    async def _get_stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def _post_reset(self, request: web.Request) -> web.Response:
        self.reset()
        return web.json_response(self.stats())

    async def _get_timeline(self, request: web.Request) -> web.Response:
        return web.json_response({"events": self.timeline})

    async def _get_profile(self, request: web.Request) -> web.Response:
        return web.json_response(self.profile.model_dump(mode="json"))
