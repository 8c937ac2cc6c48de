"""A proper server behind a front that breaks for a while, and then is well again."""

from __future__ import annotations

import json
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.servers.hostile import HostileServer, Sin
from tests.servers.ollama import OllamaStandIn


class BrokenForAWhile:
    """Entered with `async with`; `url` answers as an Ollama server with these models.

    After `after` calls for a turn it commits the sin at each of the next `times`, and is well again. `calls` counts all
    of them, `times` how often it will sin still.
    """

    def __init__(self, models: list[str], sin: Sin, *, after: int, times: int) -> None:
        """Nothing listens before it is entered."""
        self.times = times
        self.calls = 0
        self._well = OllamaStandIn(models=models, holds=len(models), slots=8, num_ctx=8192)
        self._front = HostileServer(self._answer)
        self._sin = sin
        self._after = after
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The address of the front."""
        return self._front.url

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._well.__aenter__()
        await self._front.__aenter__()
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._session is not None:
            await self._session.close()
        await self._front.__aexit__()
        await self._well.__aexit__(None, None, None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if request.path == "/api/chat" and _asks_for_a_turn(json.loads(raw)):
            self.calls += 1
            if self._after > 0:
                self._after -= 1
            elif self.times > 0:
                self.times -= 1
                return await self._sin(request)
        assert self._session is not None
        async with self._session.request(request.method, self._well.url + request.path, data=raw) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)


def _asks_for_a_turn(body: Any) -> bool:
    # A trial call has a schema of its own; it asks whether the server is well, and the front says so.
    return bool(body.get("messages")) and "analysis" in body["format"]["properties"]
