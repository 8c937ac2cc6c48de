"""A model server that answers after a fixed time and writes down when each call arrived, for which record and role.

It speaks as much of Ollama's native chat as a run needs. Models are named after the roles, so a call's model tells its
role; a record's title begins with its key. As a program it prints its address and serves until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any

ROLES = ("advocate", "critic", "judge")
_KEY = re.compile(r"Title: (\S+)")
_RANGE = re.compile(r"(\w+) from (-?\d+) to (-?\d+)")


class ModelServer:
    """What all connections share: the loaded models and the log of calls."""

    def __init__(self, calls: Path, latency_s: float) -> None:
        """Append to `calls`, one JSON object a line: `at` in monotonic seconds, `key` and `role`."""
        self.latency_s = latency_s
        self._loaded: set[str] = set()
        self._log = os.open(calls, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def answer(self, path: str, body: bytes) -> tuple[Any, float]:
        """The JSON to answer with, and how many seconds later."""
        if path != "/api/chat":
            names = ROLES if path == "/api/tags" else sorted(self._loaded)
            return {"models": [{"name": name, "model": name} for name in names]}, 0.0
        asked = json.loads(body)
        model = asked["model"]
        if not asked["messages"]:
            (self._loaded.discard if asked["keep_alive"] == 0 else self._loaded.add)(model)
            return {"model": model, "done": True, "done_reason": "load"}, 0.0
        found = _KEY.search(asked["messages"][1]["content"])
        key = found[1] if found else ""
        if key:
            line = {"at": time.monotonic(), "key": key, "role": model}
            os.write(self._log, json.dumps(line).encode() + b"\n")
        return _spoken(model, key, asked["format"]["properties"]), self.latency_s


def _spoken(model: str, key: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Always the same reply for a record and a role."""
    score = zlib.crc32(f"{key} {model}".encode()) % 11
    reply: dict[str, object] = {"analysis": f"The {model} has read {key}.", "evidence": []}
    reply |= {name: False for name in fields if name == "nothing_to_contest"}
    reply |= {name: score for name in fields if name.endswith("_score")}
    reply |= {name: _side(rule["description"], score) for name, rule in fields.items() if name == "verdict_side"}
    return {
        "model": model,
        "message": {"role": "assistant", "content": json.dumps(reply)},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 900,
        "eval_count": 20,
        "total_duration": 3,
        "load_duration": 1,
        "prompt_eval_duration": 1,
        "eval_duration": 1,
    }


def _side(ranges: str, score: int) -> str:
    """The label of a score, from the words that the schema of a judge's reply has for it."""
    return next(found[1] for found in _RANGE.finditer(ranges) if int(found[2]) <= score <= int(found[3]))


class _Connection(asyncio.Protocol):
    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = re.search(rb"(?i)content-length:\s*(\d+)", head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            answer, seconds = self._server.answer(head.split(b" ", 2)[1].decode(), body)
            asyncio.get_running_loop().call_later(seconds, self._send, json.dumps(answer).encode())

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)


async def serve(calls: Path, latency_s: float, lifetime_s: float) -> None:
    """Print the address, then answer until the lifetime is over."""
    shared = ModelServer(calls, latency_s)
    server = await asyncio.get_running_loop().create_server(partial(_Connection, shared), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    # Nobody may be left to stop it: a test run that was killed leaves no server behind for long.
    await asyncio.sleep(lifetime_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--lifetime", type=float, default=900.0)
    wanted = parser.parse_args()
    asyncio.run(serve(wanted.calls, wanted.latency, wanted.lifetime))
