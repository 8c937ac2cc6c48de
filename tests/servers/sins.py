"""A model server that answers well, except where one record is asked about: then it commits the sin it was given.

It speaks Ollama's native chat and OpenAI's chat completions on one port. `SINS` has every sin by its name; those that
pass by themselves are committed a number of times, the others whenever that record comes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.servers import hostile
from tests.servers.hostile import Flood, says
from tests.servers.ollama_asks import as_native
from tests.servers.ollama_replies import default_reply

MODEL = "qwen2.5:7b"
NOT_AT_HOME_S = 0.8
OLLAMA, OPENAI = "/api/chat", "/v1/chat/completions"
NO_MEMORY = "model requires more system memory (9.0 GiB) than is available (4.1 GiB)"
NO_GPU_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call for a turn; `text` is what a server without sin would say."""

    request: web.Request
    model: str
    text: str

    def reply(self, text: str, *, reason: str | None = "stop", thinking: str = "", **changes: Any) -> web.Response:
        """A reply with this text, in the words of the interface it was asked by; `changes` are to Ollama's body."""
        if self.request.path == OPENAI:
            return web.json_response(_openai(changes.get("model", self.model), text, reason, thinking))
        return web.json_response({**_ollama(self.model, text, reason, thinking), **changes})

    def error(self, status: int, text: str, **headers: str) -> web.Response:
        """A refusal, in the words of that interface."""
        body: Any = {"error": {"message": text, "code": status}} if self.request.path == OPENAI else {"error": text}
        return web.json_response(
            body, status=status, headers={name.replace("_", "-"): each for name, each in headers.items()}
        )


Sinning = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sin:
    """What is done to the one record; `times` how often, 0 for always."""

    commit: Sinning
    times: int = 0
    away: bool = False  # and nobody listens for a while


def _ollama(model: str, text: str, reason: str | None, thinking: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **({"thinking": thinking} if thinking else {})}
    counts = {"prompt_eval_count": 2000, "eval_count": 40, "load_duration": 1000}
    done = {"done": reason is not None, **({"done_reason": reason} if reason else {})}
    return {"model": model, "created_at": "2026-01-01T00:00:00Z", "message": message, **done, **counts}


def _openai(model: str, text: str, reason: str | None, thinking: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text or None, **({"reasoning_content": thinking} if thinking else {})}
    usage = {"prompt_tokens": 2000, "completion_tokens": 40, "total_tokens": 2040}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": model}
    return {**head, "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}


def _text(change: Callable[[str], str], **reply: Any) -> Sin:
    async def commit(asked: Asked) -> web.StreamResponse:
        return asked.reply(change(asked.text), **reply)

    return Sin(commit=commit)


def _score(value: str) -> Callable[[str], str]:
    """Put something else where the score stands; as text, because it need not be JSON."""

    def change(text: str) -> str:
        fields = json.loads(text)
        name = next(name for name in fields if name.endswith("score"))
        return json.dumps({**fields, name: "HERE"}).replace('"HERE"', value)

    return change


def _refusal(status: int, text: str, times: int = 0, **headers: str) -> Sin:
    async def commit(asked: Asked) -> web.StreamResponse:
        return asked.error(status, text, **headers)

    return Sin(commit=commit, times=times)


def _wire(sin: hostile.Sin, times: int = 0, *, away: bool = False) -> Sin:
    async def commit(asked: Asked) -> web.StreamResponse:
        return await sin(asked.request)

    return Sin(commit=commit, times=times, away=away)


async def _out_of_memory(asked: Asked) -> web.StreamResponse:
    return asked.error(500, NO_GPU_MEMORY if asked.request.path == OPENAI else NO_MEMORY)


async def _reloads(asked: Asked) -> web.StreamResponse:
    return asked.reply(asked.text, load_duration=9_000_000_000)


async def _truncates(asked: Asked) -> web.StreamResponse:
    if asked.request.path == OPENAI:
        body = _openai(asked.model, asked.text, "stop", "")
        return web.json_response({**body, "usage": {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}})
    return asked.reply(asked.text, prompt_eval_count=60)


def _answers_as(model: str) -> Sinning:
    async def commit(asked: Asked) -> web.StreamResponse:
        return asked.reply(asked.text, model=model)

    return commit


async def _odd_numbers(asked: Asked) -> web.StreamResponse:
    nan, huge = float("nan"), 10**400
    if asked.request.path == OPENAI:
        usage = {"prompt_tokens": nan, "completion_tokens": True, "prompt_tokens_details": {"cached_tokens": huge}}
        body = _openai(asked.model, asked.text, "stop", "")
        return web.json_response({**body, "usage": usage, "timings": {"prompt_ms": huge, "predicted_ms": nan}})
    changes: dict[str, Any] = {"prompt_eval_count": huge, "eval_count": -1, "load_duration": nan}
    return asked.reply(asked.text, **changes, prompt_eval_duration=float("inf"), eval_duration=huge)


SINS: Mapping[str, Sin] = {
    "silent truncation": Sin(commit=_truncates),
    "reload": Sin(commit=_reloads),
    "numbers that nobody can use": Sin(commit=_odd_numbers),
    "done: false": _text(lambda text: text, reason=None),
    "ends in an error": _text(lambda text: text, reason="error"),
    "half body": _wire(hostile.breaks_off),
    "200 with HTML": _wire(says("<html>It works!</html>")),
    "200 with an error": _wire(says({"error": "an error was encountered while running the model"})),
    "length": _text(lambda text: text[: len(text) // 2], reason="length"),
    "fenced JSON": _text(lambda text: f"```json\n{text}\n```"),
    "prose around": _text(lambda text: f"Certainly! This is my reply:\n\n{text}\n\nI hope that helps."),
    "endless white space": _text(lambda _text: "{" + "\n" * 5000, reason="length"),
    "nested braces": _text(lambda text: '{"reply": {"reply": {"reply": ' + text + "}}}"),
    "wrong enum": _text(_score('"perhaps"')),
    "NaN": _text(_score("NaN")),
    "duplicate keys": _text(lambda text: '{"analysis": "first", ' + text[1:]),
    "thinking only": _text(lambda _text: "", thinking="The record says that the hire is decided. So I would say 9."),
    "500 that names an option": _refusal(500, 'option "temperature" must be of type float32'),
    "500 out of memory": Sin(commit=_out_of_memory, times=2),
    "503": _refusal(503, "server busy, please try again", times=2),
    "429 with Retry-After": _refusal(429, "rate limit reached", times=1, Retry_After="1"),
    "hang": _wire(hostile.hangs),
    "slow drip": _wire(hostile.drips),
    "100 MB body": _wire(Flood(mebibytes=100)),
    "redirect": _wire(says("", 302, Location="http://169.254.169.254/latest/meta-data/")),
    "unknown model": _refusal(404, f"model '{MODEL}' not found"),
    "another model answers": Sin(commit=_answers_as("tiny-llama:1b")),
    "a model of a like name answers": Sin(commit=_answers_as(f"{MODEL}-instruct")),
    "connection reset": _wire(hostile.closes_at_once, times=1),
    "connection refused": _wire(hostile.closes_at_once, times=1, away=True),
}


class SinfulServer:
    """One server, entered with `async with`; it sins where `marked` stands in the prompt.

    `asked` has, of each call for a turn, when it came and whether the prompt was marked; `sins` is how often it sinned.
    """

    def __init__(self, sin: Sin, marked: str) -> None:
        """Nothing listens before the server is entered."""
        self.url = ""
        self.asked: list[tuple[float, bool]] = []
        self.sins = 0
        self._sin = sin
        self._left = sin.times or None
        self._marked = marked
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self._returns: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen; `url` is known from here on."""
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.get("/api/tags", self._models),
                web.get("/api/ps", self._models),
                web.get("/v1/models", self._served),
                web.post(OLLAMA, self._chat),
                web.post(OPENAI, self._chat),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        await self._listen(0)
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop listening."""
        if self._returns is not None:
            await self._returns
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, port: int) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", port)
        await self._site.start()

    async def _models(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"models": [{"name": MODEL, "model": MODEL, "size": 1, "digest": "d"}]})

    async def _served(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        body = await request.json()
        if not body["messages"]:
            return web.json_response({"model": MODEL, "done": True, "done_reason": "load"})
        native = as_native(body) if request.path == OPENAI else body
        marked = self._marked in json.dumps(body["messages"], ensure_ascii=False)
        self.asked.append((time.monotonic(), marked))
        asked = Asked(request=request, model=body["model"], text=default_reply(native))
        if not marked or self._left == 0:
            return asked.reply(asked.text)
        self.sins += 1
        if self._left is not None:
            self._left -= 1
        if self._sin.away:
            self._returns = asyncio.create_task(self._go_away())
        return await self._sin.commit(asked)

    def _note(self, request: web.Request) -> None:
        if request.transport is not None:
            self._open.add(request.transport)

    async def _go_away(self) -> None:
        """Let nobody in for a while, nor those go on who are in."""
        assert self._site is not None
        await self._site.stop()
        for transport in self._open:
            transport.close()
        self._open.clear()
        await asyncio.sleep(NOT_AT_HOME_S)
        await self._listen(int(self.url.rpartition(":")[2]))
