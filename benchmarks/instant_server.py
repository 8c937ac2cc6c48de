"""A model server that answers at once, so that all the time measured is the client's own.

Speaks just enough of Ollama's native API and of OpenAI's chat completions. One process, one thread, 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Callable
from functools import cache

MODEL = "instant"
_SCORE = 5
_COUNT = 999_999  # stands for the prompt's tokens, as many digits as they may have
_RANGE = re.compile(rb"(\w+) from (-?\d+) to (-?\d+)")


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._transport.write(_response(head.split(b" ", 2)[1], body))


def _http(body: object) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def _reply(side: bytes | None, contest: bool) -> str:
    reply: dict[str, object] = {"analysis": "The record says what it says.", "evidence": []}
    if side is not None:
        return json.dumps(reply | {"verdict_score": _SCORE, "verdict_side": side.decode()})
    return json.dumps(reply | ({"nothing_to_contest": False} if contest else {}) | {"suggested_score": _SCORE})


def _ollama(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    counts = {
        "prompt_eval_count": _COUNT,
        "eval_count": 40,
        "load_duration": 1,
        "prompt_eval_duration": 1,
        "eval_duration": 1,
    }
    head = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message}
    return _http(head | {"done": True, "done_reason": "stop", "total_duration": 3} | counts)


def _openai(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": _COUNT, "completion_tokens": 40, "total_tokens": 940}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL}
    return _http(head | {"choices": [choice], "usage": usage})


@cache
def _answer(make: Callable[[str], bytes], side: bytes | None, contest: bool) -> bytes:
    return make(_reply(side, contest))


def _side(body: bytes) -> bytes | None:
    """The word for the score in the schema of a judge's reply; None for a debater's."""
    # Only the schema names the fields so: in the prompt their quotation marks are escaped.
    at = body.find(b'"verdict_side": {')
    if at < 0:
        return None
    return next(match[1] for match in _RANGE.finditer(body, at) if int(match[2]) <= _SCORE <= int(match[3]))


_LISTS = {
    b"/api/tags": _http({"models": [{"name": MODEL}]}),
    b"/api/ps": _http({"models": [{"name": MODEL}]}),
    b"/v1/models": _http({"object": "list", "data": [{"id": MODEL}]}),
}


def _response(path: bytes, body: bytes) -> bytes:
    if path in _LISTS:
        return _LISTS[path]
    make = _ollama if path == b"/api/chat" else _openai
    answer = _answer(make, _side(body), b'"nothing_to_contest":' in body)
    return answer.replace(b"%d" % _COUNT, b"%6d" % (len(body) // 4))


async def serve(lifetime_s: float) -> None:
    """Print the port, then answer until the lifetime is over."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(lifetime_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifetime", type=float, default=300)
    asyncio.run(serve(parser.parse_args().lifetime))
