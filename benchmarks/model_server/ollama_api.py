"""Ollama's native API and its `/v1` in front of the model of time, in the words and shapes of the recordings.

What a call may say, how it is refused and how a reply looks is shared with the stand-in under `tests/servers/`. Replies
are streamed at their end, all tokens at once: the times in a reply are simulated, those between its lines are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tests.servers import ollama_asks as asks
from tests.servers import ollama_replies as replies
from tests.servers import ollama_shapes as shapes
from tests.servers.ollama_asks import Ask, Json, Refused
from tests.servers.ollama_replies import RUNNER_DIED, Said
from tests.servers.ollama_runners import LONGEST
from tests.servers.ollama_wire import CALL, answer_or_refuse, begin_stream, json_response, read_body, whole

from .api import Answer, Host
from .ollama_model import Call, OllamaModel
from .profile import GIB, ModelSettings
from .prompts import Prompt, render
from .residency import Runner
from .sharing import Gpu
from .speech import DIED, OUT_OF_MEMORY
from .wording import Wording, fails, word

VERSION = "0.33.0-rc2"
FAILURES = {
    DIED: RUNNER_DIED,
    OUT_OF_MEMORY: "llama runner process has terminated: cudaMalloc failed: out of memory",
}


class OllamaApi:
    """Answers for one Ollama."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._model = OllamaModel(host.sim, host.profile, host.counts)
        self._models = {shapes.full_name(model.name): model for model in host.profile.models}
        self._born = datetime.now(UTC)

    @property
    def gpu(self) -> Gpu:
        """What it computes on."""
        return self._model.gpu

    def routes(self) -> list[web.RouteDef]:
        """The paths it knows."""
        return [
            web.get("/", self._root),
            web.get("/api/version", self._version),
            web.get("/api/tags", self._tags),
            web.get("/api/ps", self._ps),
            web.post("/api/show", self._show),
            web.post("/api/chat", self._chat),
            web.get("/v1/models", self._model_list),
            web.post("/v1/chat/completions", self._completions),
        ]

    async def answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Answer a call, or refuse it as Ollama does."""
        return await answer_or_refuse(request, handler)

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        return json_response({"version": VERSION}, shapes.Native())

    async def _tags(self, request: web.Request) -> web.Response:
        listed = shapes.tags({name: list(model.abilities) for name, model in self._models.items()})
        for each in listed["models"]:
            model = self._models[each["name"]]
            each |= _weights(model)
            each["details"]["context_length"] = model.context
        return json_response(listed, shapes.Native())

    async def _ps(self, request: web.Request) -> web.Response:
        with self._host.pace.present():
            runners = list(self._model.residency.loaded.values())
            latest_first = sorted(runners, key=self._leaves_at, reverse=True)
            return json_response({"models": [self._loaded(runner) for runner in latest_first]}, shapes.Native())

    async def _model_list(self, request: web.Request) -> web.Response:
        return json_response(shapes.model_list(self._models), shapes.OpenAI())

    async def _show(self, request: web.Request) -> web.Response:
        asked = str((await read_body(request)).get("model", ""))
        model = self._models.get(shapes.full_name(asked))
        if model is None:
            raise Refused(404, f"model '{shapes.full_name(asked)}' not found")
        return json_response(shapes.shown(model.name, list(model.abilities)), shapes.Native())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._converse(request, asks.read_ask(await read_body(request)), shapes.Native())

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        dialect = shapes.OpenAI(number=request[CALL].seq, with_usage=with_usage)
        return await self._converse(request, asks.read_ask(asks.as_native(body)), dialect)

    async def _converse(self, request: web.Request, ask: Ask, dialect: shapes.Dialect) -> web.StreamResponse:
        call = request[CALL]
        call.kind = ask.kind
        model = self._models.get(shapes.full_name(ask.model))
        if model is None:
            raise Refused(404, f"model '{ask.model}' not found")
        if ask.kind == "unload":
            with self._host.pace.present():
                self._model.unload(model)
            return whole(Said(model=ask.model, done_reason="unload"), dialect)
        said = await self._speak(ask, model, call.seq)
        if not ask.stream or ask.kind == "load":
            return whole(said, dialect)
        sink = await begin_stream(request, said, dialect)
        # The call is written down before the line after which the client goes on.
        call.end(sink.status)
        await sink.write(dialect.end(said).encode())
        return sink

    async def _speak(self, ask: Ask, model: ModelSettings, number: int) -> Said:
        asks.check_abilities(ask, list(model.abilities))
        settings = asks.read_settings(ask, self._host.profile.ollama.num_ctx)
        prompt = wording = refused = None
        if ask.kind == "chat":
            try:
                replies.check_format(ask.body)
                prompt = render(ask.messages, self._host.rule, replies.prompt_tokens(ask, settings, self._host.rule))
                wording = word(ask.body, prompt, self._host.profile.replies, self._host.rule)
            except Refused as why:
                # The runner refuses, so it is loaded first.
                prompt, refused = None, why
        made: list[Call] = []

        def begin(end: Callable[[], None]) -> Callable[[], None]:
            call = Call(model=model, settings=settings, keep_s=ask.keep_s, done=end)
            made.append(call)
            self._fill(call, prompt, wording, number)
            self._model.submit(call)
            return lambda: self._model.cancel(call)

        await self._host.pace.outcome(begin)
        if refused is not None:
            raise refused
        return _said(ask, made[0], wording, self._host)

    def _fill(self, call: Call, prompt: Prompt | None, wording: Wording | None, number: int) -> None:
        if prompt is None or wording is None:
            return
        call.prompt, call.reply_tokens = prompt, wording.tokens
        if fails(self._host.profile.replies, number):
            # It dies half-way.
            call.failure, call.reply_tokens = DIED, max(1, wording.tokens // 2)

    def _leaves_at(self, runner: Runner) -> datetime:
        since = self._host.sim.now if runner.idle_since is None else runner.idle_since
        stays = LONGEST if runner.keep_s > LONGEST.total_seconds() else timedelta(seconds=runner.keep_s)
        return self._born + timedelta(seconds=since) + stays

    def _loaded(self, runner: Runner) -> Json:
        name = shapes.full_name(runner.model.name)
        return {
            "name": name,
            "model": name,
            **_weights(runner.model),
            "details": shapes.DETAILS,
            "expires_at": shapes.stamp(self._leaves_at(runner)),
            "size_vram": int(runner.gib * GIB),
            "context_length": runner.settings.num_ctx,
        }


def _weights(model: ModelSettings) -> Json:
    return {"size": int(model.size_gib * GIB), "digest": hashlib.sha256(model.file.encode()).hexdigest()}


def _said(ask: Ask, call: Call, wording: Wording | None, host: Host) -> Said:
    """The reply, its durations in simulated nanoseconds; waiting for a slot is in no part but the total."""
    if call.failure:
        raise Refused(500, FAILURES[call.failure])
    speech = call.speech
    if speech is None or wording is None:
        return Said(model=ask.model, done_reason="load")
    return Said(
        model=ask.model,
        parts=host.rule.split(wording.text),
        thinking=bool(ask.body.get("think")),
        done_reason=wording.reason,
        prompt_tokens=speech.prompt.tokens,
        tokens=wording.tokens,
        total_ns=_ns(call.ended - call.arrived),
        load_ns=_ns(call.granted - call.arrived),
        prompt_ns=_ns(speech.read - speech.began),
        eval_ns=_ns(speech.ended - speech.read),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
