"""A server on loopback that sins: it answers every call as it is told to, and notes what it was sent."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from aiohttp import web

PIECE = b" " * 2**16
DRIP_S = 0.02
# A call cut at the client's side ends its handler; this bounds a handler that nobody waits for.
LONGEST_S = 10.0

# Answers one call, however it likes.
Sin: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A call as it arrived; `body` is None where there was none."""

    path: str
    headers: dict[str, str]
    body: Any


class HostileServer:
    """One server, entered with `async with`; a call commits the next of its sins, and the last one for ever."""

    def __init__(self, *sins: Sin) -> None:
        """Nothing listens before the server is entered."""
        self.url = ""
        self.seen: list[Seen] = []
        self._sins = list(sins)
        self._site: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen; `url` is known from here on."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await self._site.setup()
        await web.TCPSite(self._site, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._site.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop listening."""
        if self._site is not None:
            await self._site.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.seen.append(Seen(path=request.path, headers=dict(request.headers), body=body))
        sin = self._sins.pop(0) if len(self._sins) > 1 else self._sins[0]
        return await sin(request)


def says(body: Any, status: int = 200, **headers: str) -> Sin:
    """Answer with JSON, or with a text as it is; underscores in a header's name become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def sin(request: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=named, content_type="text/html")
        return web.json_response(body, status=status, headers=named)

    return sin


async def hangs(request: web.Request) -> web.StreamResponse:
    """Take the call and say nothing."""
    await asyncio.sleep(LONGEST_S)
    return web.Response()


async def repeats_the_key(request: web.Request) -> web.StreamResponse:
    """Refuse the key and say which one it was, as some servers do."""
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return web.json_response({"error": {"message": f"Incorrect API key provided: {key}."}}, status=401)


async def breaks_off(request: web.Request, half: bytes = b'{"message": {"content": "half of') -> web.StreamResponse:
    """Close the connection in the middle of a body whose length was announced."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(half)
    _cut(request)
    return response


async def refuses_by_half(request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of an error."""
    response = web.StreamResponse(status=500, headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"error": "half of')
    _cut(request)
    return response


async def closes_at_once(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    _cut(request)
    return web.Response()


async def drips(request: web.Request) -> web.StreamResponse:
    """Say a little all the time, so that the connection is never idle, and never end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(round(LONGEST_S / DRIP_S)):
        await response.write(b" ")
        await asyncio.sleep(DRIP_S)
    return response


class Flood:
    """A body of so many MiB; `sent` is how many bytes of it the client took."""

    def __init__(self, mebibytes: int) -> None:
        """Nothing is sent before a call."""
        self.sent = 0
        self._pieces = mebibytes * 2**20 // len(PIECE)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send it until the client has had enough."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(self._pieces):
            await response.write(PIECE)
            self.sent += len(PIECE)
        return response


@contextmanager
def nobody_listens() -> Iterator[str]:
    """The address of a port at which every connection is refused, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """The address of a port that answers no more than a machine without power does."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Linux lets one more wait than was said; to all further ones it does not answer.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
