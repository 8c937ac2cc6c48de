"""A server in the manner of llama-server that keeps or breaks each promise a run counts on, as it is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from aiohttp import web

Json: TypeAlias = dict[str, Any]

THOUGHT = "Let me see. "
DECIDED_FIRST = ("count", "tone", "agree")
# Of so many calls at once, one that has a slot ends when it was seen so often while all slots were taken that could be:
# what is seen depends on no clock.
AT_ONCE = 4
SIGHTINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How the server behaves; as it stands here it keeps every promise.

    Attributes:
        schema: enforced; `fields` only, not their values; `told`, where the prompt asks for JSON; or ignored.
        order: of the fields.
        thinks: not, beside the reply, instead of it, aloud in it, or until the reply's limit.
        context: tokens of one slot, as it says and as it refuses; a word counts as a token.
        slots: calls it works on at once; `says` is what it says of them, nothing if 0.
        cuts: reads the end of a prompt that is too long, instead of refusing it.
        caches: remembers the prompts it has read.
    """

    schema: Literal["enforced", "fields", "told", "ignored"] = "enforced"
    order: Literal["declared", "sorted", "decided first"] = "declared"
    thinks: Literal["", "beside", "instead", "aloud", "to the limit"] = ""
    context: int = 8192
    slots: int = 4
    says: int = 4
    cuts: bool = False
    caches: bool = True
    status: int = 200


@dataclass(slots=True, kw_only=True)
class PromisingServer:
    """One server with one model, `model`, entered with `async with`; `bodies` are the chat calls in order."""

    manners: Manners
    url: str = ""
    bodies: list[Json] = field(default_factory=list)
    most_at_work: int = 0
    _at_work: dict[int, int] = field(default_factory=dict)
    _finished: int = 0
    _read: set[str] = field(default_factory=set)
    _site: web.AppRunner | None = None
    _free: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)

    async def __aenter__(self) -> Self:
        """Listen; `url`, which ends in /v1, is known from here on."""
        self._free = asyncio.Semaphore(self.manners.slots)
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.get("/v1/models", self._models),
                web.get("/props", self._props),
                web.get("/slots", self._slots),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await self._site.setup()
        await web.TCPSite(self._site, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._site.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._site is not None:
            await self._site.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "model", "meta": {"n_ctx": self.manners.context}}]})

    async def _props(self, request: web.Request) -> web.Response:
        if not self.manners.says:
            raise web.HTTPNotFound
        return web.json_response({"total_slots": self.manners.says})

    async def _slots(self, request: web.Request) -> web.Response:
        if not self.manners.says:
            raise web.HTTPNotFound
        busy = len(self._at_work)
        if busy == min(self.manners.slots, AT_ONCE - self._finished):
            self._at_work = {number: seen + 1 for number, seen in self._at_work.items()}
        return web.json_response([{"id": slot, "is_processing": slot < busy} for slot in range(self.manners.slots)])

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if self.manners.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.manners.status)
        prompt = " ".join(message["content"] for message in body["messages"])
        tokens = len(prompt.split())
        if tokens > self.manners.context:
            if not self.manners.cuts:
                message = f"request ({tokens} tokens) exceeds the available context size"
                return web.json_response({"error": {"message": message, "n_ctx": self.manners.context}}, status=400)
            tokens = self.manners.context
        async with self._free:
            if "Count from" in prompt:
                await self._work(len(self.bodies))
        cached = tokens if self.manners.caches and prompt in self._read else 0
        self._read.add(prompt)
        return web.json_response(self._reply(body, prompt, tokens, cached))

    async def _work(self, number: int) -> None:
        self._at_work[number] = 0
        self.most_at_work = max(self.most_at_work, len(self._at_work))
        # Where nobody can look, a call ends by itself.
        while self.manners.says and self._at_work[number] < SIGHTINGS:
            await asyncio.sleep(0)
        del self._at_work[number]
        self._finished += 1

    def _reply(self, body: Json, prompt: str, tokens: int, cached: int) -> Json:
        message, finish = self._message(body, prompt), "stop"
        if self.manners.thinks == "to the limit":
            finish = "length"
        usage = {"prompt_tokens": tokens, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": cached}}
        return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}

    def _message(self, body: Json, prompt: str) -> Json:
        text = self._text(_schema(body), prompt)
        match self.manners.thinks:
            case "":
                return {"role": "assistant", "content": text}
            case "beside":
                return {"role": "assistant", "content": text, "reasoning_content": THOUGHT}
            case "aloud":
                return {"role": "assistant", "content": f"<think>{THOUGHT}</think>{text}"}
            case "instead" | "to the limit":
                return {"role": "assistant", "content": "", "reasoning_content": THOUGHT + text}

    def _text(self, schema: Json, prompt: str) -> str:
        plain = "no JSON" in prompt
        match self.manners.schema:
            case "ignored":
                return "11" if plain else "Here you are: amber, 65."
            case "told" if plain:
                return "11"
            case kept:
                return json.dumps(self._ordered(_filled(schema, values=kept != "fields")))

    def _ordered(self, reply: Json) -> Json:
        match self.manners.order:
            case "declared":
                return reply
            case "sorted":
                return dict(sorted(reply.items()))
            case "decided first":
                return {name: reply[name] for name in DECIDED_FIRST} if "count" in reply else reply


def _schema(body: Json) -> Json:
    schema: Json = body["response_format"]["json_schema"]["schema"]
    return schema


def _filled(schema: Json, *, values: bool) -> Json:
    return {name: _value(rule, fits=values) for name, rule in schema["properties"].items()}


def _value(rule: Json, *, fits: bool) -> Any:
    match rule["type"]:
        case "integer":
            return rule["minimum"] if fits else rule["maximum"] + 1
        case "boolean":
            return True
        case "array":
            return [1] * rule["minItems"]
        case _:
            return rule["enum"][0]
