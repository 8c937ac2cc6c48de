"""A stand-in for an Ollama server that keeps the rules recorded on a real one.

`tests/recordings/ollama/` holds the recordings and `tests/integration/test_ollama_stand_in.py` replays them. The
loading rules are in `ollama_runners`, what is said and how it is counted in `ollama_replies`.

As a program (`python -m tests.servers.ollama --models a,b`) it prints its URL and then serves until SIGTERM.
"""

import argparse
import asyncio
import inspect
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeAlias

from aiohttp import web

from . import ollama_asks as asks
from . import ollama_replies as replies
from . import ollama_shapes as shapes
from .ollama_asks import Ask, Json, Refused
from .ollama_calls import Call, CallBook
from .ollama_replies import RunnerDied, Said, Tokens
from .ollama_runners import Runner, Runners
from .ollama_wire import CALL, Answer, answer_or_refuse, begin_stream, json_response, read_body, whole

__all__ = ["Call", "OllamaStandIn", "Reply", "RunnerDied", "main"]

VERSION = "0.33.0-rc2"
# Ollama's own log writes it for a client that went away; nobody ever receives it.
CLIENT_GONE = 499
MAX_BODY = 64 * 2**20

# Gives the content of a reply from the native form of the body; it may be awaited, and may raise RunnerDied.
Reply: TypeAlias = Callable[[Json], str | Awaitable[str]]


class OllamaStandIn:
    """One server on loopback, entered with `async with`.

    `events` are in the order in which models came and went: `load`, `reload`, `evict`, `unload`, and `abort` for a load
    whose client went away. `reply` gets the native form of a body and may be awaited. `time_scale` is how many real
    seconds a second of `keep_alive` takes, `thinks` names the models that can think, `num_ctx` is the context of a
    request without one, `weights` the files that models are names of. With `cuts_at` no context is longer than that,
    whatever a request asks for, and longer prompts are cut in silence.
    """

    def __init__(
        self,
        *,
        models: Sequence[str],
        holds: int = 1,
        slots: int = 1,
        max_queue: int = 512,
        load_s: float = 0.0,
        latency_s: float = 0.0,
        reply: Reply = replies.default_reply,
        thinks: Sequence[str] = (),
        num_ctx: int = 4096,
        cuts_at: int | None = None,
        weights: Mapping[str, str] | None = None,
        chars_per_token: float = 4.0,
        time_scale: float = 1.0,
        port: int = 0,
        calls_file: Path | None = None,
    ) -> None:
        """Nothing listens before the server is entered."""
        self.url = ""
        self._models = {shapes.full_name(model): model for model in models}
        self._runners = Runners(holds=holds, slots=slots, max_queue=max_queue, load_s=load_s, time_scale=time_scale)
        self._latency_s = latency_s
        self._reply = reply
        self._thinks = {shapes.full_name(model) for model in thinks}
        self._num_ctx = num_ctx
        self._cuts_at = cuts_at
        self._weights = {shapes.full_name(model): file for model, file in (weights or {}).items()}
        self._tokens = Tokens(chars_per_token=chars_per_token)
        self._port = port
        self._book = CallBook(path=calls_file)
        self._site: web.AppRunner | None = None

    @property
    def calls(self) -> list[Call]:
        """Every call that has ended, in the order of the ends; `seq` gives the order of arrival."""
        return self._book.calls

    @property
    def events(self) -> list[tuple[str, str]]:
        """What was loaded and unloaded, in order."""
        return self._runners.events

    @property
    def loads(self) -> int:
        """How many times a model was loaded, reloads included."""
        return sum(event in ("load", "reload") for event, _ in self.events)

    @property
    def loaded(self) -> list[str]:
        """The models in memory now, those still being loaded included."""
        return list(self._runners.loaded)

    @property
    def waiting(self) -> int:
        """How many requests wait for a load now, the one being served included."""
        return self._runners.waiting

    @property
    def most_models_wanted(self) -> int:
        """The largest number of distinct models with requests in flight or waiting at one time."""
        return self._runners.most_wanted

    async def __aenter__(self) -> Self:
        """Listen; `url` is known from here on."""
        self._book.open()
        app = web.Application(middlewares=[self._answer], client_max_size=MAX_BODY)
        app.add_routes(self._routes())
        # A client that goes away must give up its place, as on the real server; tests never wait for a hung call.
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await self._site.setup()
        await web.TCPSite(self._site, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._site.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection and stop listening."""
        await self._runners.close()
        if self._site is not None:
            await self._site.cleanup()
        self._book.close()

    def _routes(self) -> list[web.RouteDef]:
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

    @web.middleware
    async def _answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        # aiohttp passes `handler` by its name, so it cannot be called anything else.
        call = request[CALL] = self._book.begin(request.path)
        status = 500
        try:
            response = await answer_or_refuse(request, handler)
            status = response.status
            return response
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            # Before the reply is sent: a client killed on receiving it has left its trace.
            call.end(status)

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        return json_response({"version": VERSION}, shapes.Native())

    async def _tags(self, request: web.Request) -> web.Response:
        return json_response(shapes.tags({model: self._abilities(model) for model in self._models}), shapes.Native())

    async def _ps(self, request: web.Request) -> web.Response:
        return json_response(shapes.running(self._runners.loaded.values()), shapes.Native())

    async def _model_list(self, request: web.Request) -> web.Response:
        return json_response(shapes.model_list(self._models), shapes.OpenAI())

    async def _show(self, request: web.Request) -> web.Response:
        model = shapes.full_name(str((await read_body(request)).get("model", "")))
        if model not in self._models:
            raise Refused(404, f"model '{model}' not found")
        file = self._weights.get(model, "")
        return json_response(shapes.shown(model, self._abilities(model), file), shapes.Native())

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
            self._runners.unload(model)
            return whole(Said(model=ask.model, done_reason="unload"), dialect)
        asks.check_abilities(ask, self._abilities(shapes.full_name(model)))
        settings = asks.read_settings(ask, self._num_ctx)
        sink = None
        async with self._runners.use(model, settings, ask.keep_s) as runner:
            said = await self._speak(ask, runner, int(call.started * 1e9))
            if ask.stream and ask.kind == "chat":
                sink = await begin_stream(request, said, dialect)
        if sink is None:
            return whole(said, dialect)
        # The model is given back and the call written down before the line after which the client goes on.
        call.end(sink.status)
        await sink.write(dialect.end(said).encode())
        return sink

    async def _speak(self, ask: Ask, runner: Runner, arrived_ns: int) -> Said:
        load_ns = time.monotonic_ns() - arrived_ns
        if ask.kind == "load":
            return Said(model=ask.model, done_reason="load")
        died = False
        async with runner.slots:
            began_ns = time.monotonic_ns()
            replies.check_format(ask.body)
            deaf, asked = self._cuts_at is not None, runner.settings
            given = replace(asked, num_ctx=min(asked.num_ctx, self._cuts_at or asked.num_ctx))
            prompt_tokens = replies.prompt_tokens(ask, given, self._tokens, deaf=deaf)
            try:
                text = await self._say(ask.body)
            except RunnerDied as end:
                text, died = end.text, True
                runner.alive = False
        ended_ns = time.monotonic_ns()
        text, done_reason, tokens = replies.cut(text, ask.options, self._tokens)
        prompt_ns = (ended_ns - began_ns) * prompt_tokens // (prompt_tokens + tokens)
        return Said(
            model=ask.model,
            parts=self._tokens.split(text),
            thinking=bool(ask.body.get("think")),
            done_reason=done_reason,
            prompt_tokens=prompt_tokens,
            tokens=tokens,
            total_ns=ended_ns - arrived_ns,
            load_ns=load_ns,
            prompt_ns=prompt_ns,
            eval_ns=ended_ns - began_ns - prompt_ns,
            died=died,
        )

    async def _say(self, body: Json) -> str:
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        text = self._reply(body)
        return await text if inspect.isawaitable(text) else text

    def _abilities(self, model: str) -> list[str]:
        return ["completion", "thinking"] if model in self._thinks else ["completion"]


async def serve(wanted: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT or the end of the lifetime."""
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    server = OllamaStandIn(
        models=wanted.models.split(","),
        holds=wanted.holds,
        slots=wanted.slots,
        max_queue=wanted.max_queue,
        load_s=wanted.load,
        latency_s=wanted.latency,
        num_ctx=wanted.num_ctx,
        time_scale=wanted.time_scale,
        port=wanted.port,
        calls_file=wanted.calls,
    )
    async with server:
        print(server.url, flush=True)
        # Nobody may be left to stop it: a test run that was killed leaves no server behind for long.
        await asyncio.wait({asyncio.create_task(stop.wait())}, timeout=wanted.lifetime)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.ollama", description="A stand-in for Ollama.")
    parser.add_argument("--models", required=True, help="installed models, comma-separated")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--holds", type=int, default=1, help="models in memory at once")
    parser.add_argument("--slots", type=int, default=1, help="parallel requests per model")
    parser.add_argument("--max-queue", type=int, default=512, help="requests that may wait for a load")
    parser.add_argument("--load", type=float, default=0.0, help="seconds a load takes")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a reply takes")
    parser.add_argument("--num-ctx", type=int, default=4096, help="context of a request that asks for none")
    parser.add_argument("--time-scale", type=float, default=1.0, help="real seconds per second of keep_alive")
    parser.add_argument("--calls", type=Path, help="file to append a JSON line per call to")
    parser.add_argument("--lifetime", type=float, default=600.0, help="seconds after which it ends by itself")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
