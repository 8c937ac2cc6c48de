"""vLLM's API in front of the model of time: chat completions, models, metrics, health, sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from tests.servers.ollama_asks import Json
from tests.servers.ollama_wire import CALL

from . import vllm_shapes as shapes
from .api import Answer, Host, header
from .prompts import Prompt, render
from .sharing import Gpu
from .speech import DIED, OUT_OF_MEMORY
from .vllm_asks import BUSY, Ask, Refused, check_length, read_ask, read_json
from .vllm_model import Call, EngineFull, VllmModel
from .wording import Wording, fails, word

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
FAILURES = {
    DIED: "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    OUT_OF_MEMORY: "CUDA out of memory. Tried to allocate 256.00 MiB.",
}


class VllmApi:
    """Answers for one vLLM."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._settings = host.profile.vllm
        self._model = VllmModel(host.sim, host.profile, host.counts)
        self._born = time.time()

    @property
    def gpu(self) -> Gpu:
        """What it computes on."""
        return self._model.gpu

    def routes(self) -> list[web.RouteDef]:
        """The paths it knows; those of the developer's mode only in it."""
        known = [
            web.get("/health", self._health),
            web.get("/version", self._version),
            web.get("/load", self._load),
            web.get("/metrics", self._metrics),
            web.get("/v1/models", self._list),
            web.post("/v1/chat/completions", self._chat),
        ]
        for_developers = [
            web.post("/sleep", self._sleep),
            web.post("/wake_up", self._wake_up),
            web.get("/is_sleeping", self._is_sleeping),
            web.post("/reset_prefix_cache", self._reset_cache),
        ]
        return known + for_developers * self._settings.dev_mode

    async def answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Answer a call, or refuse it as vLLM does; only what is under /v1 asks for the key."""
        key = self._settings.api_key
        if key and request.path.startswith("/v1") and header(request, "Authorization") != f"Bearer {key}":
            return _json({"error": "Unauthorized"}, 401)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _json({"detail": "Not Found"}, 404)
        except web.HTTPMethodNotAllowed:
            return _json({"detail": "Method Not Allowed"}, 405)
        except Refused as why:
            return _json(why.body, why.status)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, request: web.Request) -> web.Response:
        return _json({"version": "0.32.0"})

    async def _load(self, request: web.Request) -> web.Response:
        return _json({"server_load": 0})

    async def _list(self, request: web.Request) -> web.Response:
        return _json(shapes.models(self._model.model.name, self._settings.max_model_len, self._born))

    async def _sleep(self, request: web.Request) -> web.Response:
        with self._host.pace.present():
            self._model.sleep()
        return _json({"status": "sleeping", "level": int(request.query.get("level", 1))})

    async def _wake_up(self, request: web.Request) -> web.Response:
        with self._host.pace.present():
            self._model.wake()
        return _json({"status": "awake", "tags": None})

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        return _json({"is_sleeping": self._model.asleep})

    async def _reset_cache(self, request: web.Request) -> web.Response:
        with self._host.pace.present():
            idle = not self._model.running
            if idle:
                self._model.cache.clear()
        return _json({"success": idle})

    async def _metrics(self, request: web.Request) -> web.Response:
        with self._host.pace.present():
            model, served = self._model, self._model.served
            gauges = {
                "num_requests_running": len(model.running),
                "num_requests_waiting": model.waiting,
                "kv_cache_usage_perc": model.cache.usage,
            }
            config = {
                "block_size": self._settings.block_size,
                "enable_prefix_caching": self._settings.prefix_caching,
                "engine": 0,
                "kv_cache_size_tokens": model.cache.capacity * self._settings.block_size,
                "num_gpu_blocks": model.cache.capacity,
            }
            text = shapes.metrics(model.model.name, gauges, served, config)
        return web.Response(body=text.encode(), headers={"Content-Type": METRICS_TYPE})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        record = request[CALL]
        record.body = body = read_json(await request.read())
        record.model = body.get("model")
        ask = read_ask(body, self._model.model.name, self._model.longest)
        if ask.priority and self._settings.priority == "refused":
            raise Refused(400, f"Got priority {ask.priority} but Priority scheduling is not enabled.")
        prompt = render(ask.native["messages"], self._host.rule)
        check_length(prompt.tokens, self._model.longest)
        wording = self._word(ask, prompt)
        call = await self._speak(ask, prompt, wording, record.seq)
        reply = self._reply(record.seq, call, wording)
        if not ask.stream:
            return _json(shapes.whole(reply))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        record.end(response.status)
        for event in shapes.stream(reply, ask.with_usage):
            await response.write(event.encode())
        return response

    def _word(self, ask: Ask, prompt: Prompt) -> Wording:
        if ask.choices:
            text = ask.choices[0]
            return Wording(text=text, reason="stop", tokens=self._host.rule.count(text) + 1)
        # No reply is longer than the room that the prompt leaves.
        room = self._model.longest - prompt.tokens
        options = ask.native["options"] | {"num_predict": min(ask.limit or room, room)}
        return word({**ask.native, "options": options}, prompt, self._host.profile.replies, self._host.rule)

    async def _speak(self, ask: Ask, prompt: Prompt, wording: Wording, number: int) -> Call:
        made: list[Call] = []
        failure = DIED if fails(self._host.profile.replies, number) else ""

        def begin(end: Callable[[], None]) -> Callable[[], None]:
            # One that fails does so half-way.
            tokens = max(1, wording.tokens // 2) if failure else wording.tokens
            call = Call(prompt=prompt, reply_tokens=tokens, done=end, salt=ask.salt, priority=ask.priority)
            call.failure = failure
            made.append(call)
            self._model.submit(call)
            return lambda: self._model.cancel(call)

        try:
            await self._host.pace.outcome(begin)
        except EngineFull:
            raise Refused(503, BUSY, "Service Unavailable") from None
        call = made[0]
        if call.failure and not call.aborted:
            raise Refused(500, FAILURES[call.failure], "InternalServerError")
        return call

    def _reply(self, number: int, call: Call, wording: Wording) -> shapes.Reply:
        size = self._settings.block_size
        cached = call.speech.cached if call.speech is not None else 0
        full = call.prompt.tokens // size * size if self._settings.prefix_caching else 0
        return shapes.Reply(
            number=number,
            model=self._model.model.name,
            parts=() if call.aborted else self._host.rule.split(wording.text),
            reason="abort" if call.aborted else wording.reason,
            stopped_at=wording.stopped_at,
            prompt_tokens=call.prompt.tokens,
            tokens=0 if call.aborted else wording.tokens,
            cached=cached,
            created_cache=max(0, full - cached),
        )


def _json(body: Json, status: int = 200) -> web.Response:
    """As FastAPI writes it: the type without a charset."""
    response = web.json_response(body, status=status)
    response.headers["Content-Type"] = "application/json"
    return response
