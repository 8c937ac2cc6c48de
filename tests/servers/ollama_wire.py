"""HTTP around the stand-in: who may ask, how a refusal and a reply become a response."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from .ollama_asks import Json, Refused, read_json
from .ollama_calls import OpenCall
from .ollama_replies import RUNNER_DIED, Said
from .ollama_runners import QueueFull
from .ollama_shapes import Dialect, Native, OpenAI, line

BUSY = "server busy, please try again.  maximum pending requests exceeded"

CALL = web.RequestKey("call", OpenCall)

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_local(host: str) -> bool:
    """Tell whether a `Host` header names this machine or its network; Ollama answers no other."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name in ("", "localhost") or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


async def answer_or_refuse(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Answer a call, with the error shape of the interface it came by."""
    if not is_local(request.headers.get("Host", "")):
        return web.Response(status=403)
    try:
        return await answer(request)
    except web.HTTPNotFound:
        return _plain(404, "404 page not found")
    except web.HTTPMethodNotAllowed as wrong:
        return _plain(405, "405 method not allowed", Allow=",".join(sorted(wrong.allowed_methods)))
    except QueueFull:
        refused = Refused(503, BUSY)
    except Refused as why:
        refused = why
    dialect: Dialect = OpenAI() if request.path.startswith("/v1/") else Native()
    return json_response(dialect.error(refused.status, refused.text), dialect, refused.status)


async def read_body(request: web.Request) -> Json:
    """Read a body and note it in the call's record."""
    call = request[CALL]
    body = read_json(await request.read())
    call.body = body
    call.model = body.get("model")
    return body


def json_response(body: Json, dialect: Dialect, status: int = 200) -> web.Response:
    """Write JSON as compactly as Go does."""
    return web.Response(body=line(body).encode(), status=status, headers={"Content-Type": dialect.content_type})


def whole(said: Said, dialect: Dialect) -> web.Response:
    """A reply in one piece; a runner that died gives an error instead."""
    if said.died:
        raise Refused(500, RUNNER_DIED)
    return json_response(dialect.whole(said), dialect)


async def begin_stream(request: web.Request, said: Said, dialect: Dialect) -> web.StreamResponse:
    """Send all of a reply but its last line."""
    response = web.StreamResponse(headers={"Content-Type": dialect.stream_type})
    await response.prepare(request)
    for part in dialect.parts(said):
        await response.write(part.encode())
    return response


def _plain(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": "text/plain", **headers})
