"""Ollama by its native chat, which unlike its /v1 takes `num_ctx` and the schema of a reply.

Sent with every call, because a call without them means the server's defaults and may reload the model: `num_ctx`,
`num_predict`, `seed`, `temperature`, `keep_alive`; and `truncate: false`, because a prompt that is too long is
otherwise cut without a word.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama

from orchestrator.backends.chat import OverWire, Speakers, check_speaker
from orchestrator.backends.numbers import gib, seconds, tokens
from orchestrator.backends.status import error_of, error_without_reply
from orchestrator.backends.wire import Answer, Wire
from orchestrator.domain import Backend, Usage
from orchestrator.errors import OverflowingError, SetupError, TransientError, incomplete
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Reply, Request, Sampling

_LOAD_S = 900.0
_LOOK_S = 10.0
_GONE_S = 60.0
_POLL_S = 0.1
_FIRST_POLL_S = 0.002
_NANO = 1e-9
_FROM = re.compile(r"^FROM[ \t]+(\S+)", re.M)  # the line that names a model's weights; comments begin with #
_NO_REPLY = ("load", "unload")  # how a call without messages ends


class _Chat(OverWire, ChatOllama):
    """ChatOllama over our wire."""

    async def _post(self, messages: list[dict[str, str]], options: dict[str, Any]) -> Reply:
        body = {
            "model": self.model,
            "messages": messages,
            "stream": False,
            "truncate": False,
            "format": options["format"],
            "keep_alive": self.keep_alive,
            "options": {
                "num_ctx": self.num_ctx,
                "num_predict": self.num_predict,
                "seed": self.seed,
                "temperature": self.temperature,
            },
        }
        answer = await self._wire.post("/api/chat", body, self._timeout_s)
        text = _complete(answer, self._wire.url)
        check_speaker(self.model, answer.json, self._wire.url)
        thinking = str(answer.json["message"].get("thinking") or "")
        return Reply(text=text, usage=_usage(answer.json), thinking=thinking)


def _complete(answer: Answer, address: str) -> str:
    if answer.status != 200:
        raise error_of(answer, address)
    body = answer.json
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict) or body.get("error") or body.get("done_reason") in _NO_REPLY:
        raise error_without_reply(answer, address)
    text = str(message.get("content") or "")
    if body.get("done") is not True:
        problem = f"{address}: the reply is not complete (done is {body.get('done')!r})"
        raise incomplete(TransientError(problem, reply=text))
    match body.get("done_reason"):
        case "stop" | None:
            return text
        case "length":
            problem = "the reply was cut at its limit: raise reply_limit or context"
            raise incomplete(OverflowingError(problem, reply=text))
        case reason:
            problem = f"{address}: the reply is not complete (done_reason is {reason!r})"
            raise incomplete(TransientError(problem, reply=text))


def _usage(body: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=tokens(body.get("prompt_eval_count")),
        reply_tokens=tokens(body.get("eval_count")),
        load_s=seconds(body.get("load_duration"), _NANO),
        prompt_s=seconds(body.get("prompt_eval_duration"), _NANO),
        reply_s=seconds(body.get("eval_duration"), _NANO),
    )


def _spellings(name: str) -> set[str]:
    return {name, name.removesuffix(":latest")}


class OllamaEndpoint:
    """One Ollama server."""

    backend = Backend.OLLAMA

    def __init__(self, *, name: str, wire: Wire, keep_alive: str) -> None:
        self.name = name
        self._wire = wire
        self._keep_alive = keep_alive
        self._speakers = Speakers(self._chat)

    async def available(self) -> frozenset[str] | None:
        """The models pulled on that server."""
        return await self._names("/api/tags")

    async def loaded(self) -> frozenset[str]:
        """The models in its memory."""
        return await self._names("/api/ps")

    async def load(self, model: str, sampling: Sampling) -> None:
        """Load a model with the context its actors use, so that their first call does not reload it."""
        body = {
            "model": model,
            "messages": [],
            "stream": False,
            "keep_alive": self._keep_alive,
            "options": {"num_ctx": sampling.context},
        }
        await self._ask(body)

    async def unload(self, model: str) -> None:
        """Unload a model and wait until it has gone.

        Its timer may have been put back by a late call, so an unload is asked for and then looked for.
        """
        await self._ask({"model": model, "messages": [], "stream": False, "keep_alive": 0})
        wait_s, waited_s = _FIRST_POLL_S, 0.0
        while model in await self.loaded():
            if waited_s > _GONE_S:
                problem = f"{model} is still loaded {_GONE_S:g} s after it was asked to go"
                raise TransientError(f"{self._wire.url}: {problem}")
            await asyncio.sleep(wait_s)
            waited_s += wait_s
            wait_s = min(_POLL_S, 2 * wait_s)

    async def files(self) -> Mapping[str, ModelFile]:
        """The digest of each model, and its size: in memory if it is loaded, else that of its file."""
        found: dict[str, ModelFile] = {}
        for path in ("/api/tags", "/api/ps"):
            for model in await self._models(path):
                digest, size = str(model.get("digest") or ""), gib(model.get("size"))
                for name in _spellings(str(model["name"])):
                    before = found.get(name, ModelFile())
                    found[name] = ModelFile(digest=digest or before.digest, gib=size or before.gib)
        return found

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """The file that a model's Modelfile names, which its copies and variants share; else its digest."""
        files = await self.files()
        found = {model: files[model].digest for model in models if model in files}
        for model in models:
            answer = await self._wire.post("/api/show", {"model": model}, _LOOK_S)
            said = answer.json.get("modelfile") if answer.status == 200 and isinstance(answer.json, dict) else None
            if source := _FROM.search(str(said)):
                found[model] = source[1]
        return found

    async def pressure(self) -> Pressure | None:
        """It cannot tell. What a call waited is in its own times: total less load, prompt and reply."""
        return None

    async def speak(self, request: Request) -> Reply:
        """One call by /api/chat."""
        return await self._speakers.speak(request)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    def wire_to(self, _model: str) -> Wire:
        """The wire that calls of a model go by."""
        return self._wire

    async def _ask(self, body: dict[str, Any]) -> None:
        answer = await self._wire.post("/api/chat", body, _LOAD_S)
        if answer.status != 200:
            raise error_of(answer, self._wire.url)

    async def _names(self, path: str) -> frozenset[str]:
        return frozenset(name for model in await self._models(path) for name in _spellings(str(model["name"])))

    async def _models(self, path: str) -> list[dict[str, Any]]:
        answer = await self._wire.get(path)
        if answer.status not in (200, 404):
            raise error_of(answer, self._wire.url + path)
        try:
            return [dict(model, name=model["name"]) for model in answer.json["models"] or []]
        except (TypeError, KeyError, ValueError) as error:
            problem = f"{self._wire.url}{path} answered {answer.status}: is this an Ollama server?"
            raise SetupError(problem) from error

    def _chat(self, request: Request) -> tuple[BaseChatModel, dict[str, Any]]:
        sampling = request.sampling
        chat = _Chat(
            model=request.model,
            base_url=self._wire.url,
            num_ctx=sampling.context,
            num_predict=sampling.reply_limit,
            temperature=sampling.temperature,
            seed=sampling.seed,
            keep_alive=self._keep_alive,
            # Its own HTTP clients are never used; an empty TLS context saves loading certificates for them.
            client_kwargs={"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        )
        return chat.over(self._wire, sampling.timeout_s), {"format": request.schema}
