"""vLLM, and any server that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr, SecretStr

from orchestrator.backends.addresses import connector
from orchestrator.backends.chat import OverWire, Speakers, check_speaker
from orchestrator.backends.numbers import requests, seconds, tokens
from orchestrator.backends.status import error_of, error_without_reply
from orchestrator.backends.wire import Answer, Wire
from orchestrator.domain import Backend, Usage
from orchestrator.errors import OverflowingError, RefusalError, SetupError, TransientError, incomplete
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Reply, Request, Sampling

_MILLI = 1e-3
_METRICS_S = 2.0
_LONGEST_METRICS = 2**22  # bytes
_GAUGES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "llamacpp:requests_processing": "running",
    "llamacpp:requests_deferred": "waiting",
}


class _Chat(OverWire, ChatOpenAI):
    """ChatOpenAI over our wire."""

    _checked: bool = PrivateAttr(default=True)

    async def _post(self, messages: list[dict[str, str]], options: dict[str, Any]) -> Reply:
        body = {
            "model": self.model_name,
            "messages": messages,
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stream": False,
            "response_format": options["response_format"],
        }
        answer = await self._wire.post("/chat/completions", body, self._timeout_s)
        text = _complete(answer, self._wire.url)
        if self._checked:
            check_speaker(self.model_name, answer.json, self._wire.url)
        message = answer.json["choices"][0]["message"]
        # vLLM 0.32 says `reasoning`; older ones, llama.cpp and others `reasoning_content`.
        thinking = str(message.get("reasoning") or message.get("reasoning_content") or "")
        return Reply(text=text, usage=_usage(answer.json), thinking=thinking)


def _complete(answer: Answer, address: str) -> str:
    if answer.status != 200:
        raise error_of(answer, address)
    try:
        choice = answer.json["choices"][0]
        message = dict(choice["message"])
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise error_without_reply(answer, address) from error
    if answer.json.get("error"):
        raise error_without_reply(answer, address)
    text = str(message.get("content") or "")
    if message.get("refusal"):
        raise RefusalError(f"the model declined: {message['refusal']}", reply=text)
    match choice.get("finish_reason"):
        case "stop":
            return text
        case "length":
            problem = "the reply was cut at its limit: raise reply_limit, or the server's context"
            raise incomplete(OverflowingError(problem, reply=text))
        case "content_filter":
            raise RefusalError("the server's filter stopped the reply", reply=text)
        case reason:
            problem = f"{address}: the reply is not complete (finish_reason is {reason!r})"
            raise incomplete(TransientError(problem, reply=text))


def _usage(body: dict[str, Any]) -> Usage:
    usage = _object(body.get("usage"))
    timings = _object(body.get("timings"))  # llama.cpp only
    return Usage(
        prompt_tokens=tokens(usage.get("prompt_tokens")),
        cached_tokens=tokens(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reply_tokens=tokens(usage.get("completion_tokens")),
        prompt_s=seconds(timings.get("prompt_ms"), _MILLI),
        reply_s=seconds(timings.get("predicted_ms"), _MILLI),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def _gauges(address: str) -> dict[str, list[float]] | None:
    """Requests that run and that wait, for each engine behind an address; None if it does not tell."""
    found: dict[str, list[float]] = {"running": [], "waiting": []}
    # Metrics are text and need no key: the wire brings JSON, and would send one.
    timeout, body = aiohttp.ClientTimeout(total=_METRICS_S), bytearray()
    async with (
        aiohttp.ClientSession(connector=connector(), timeout=timeout, trust_env=False) as session,
        session.get(address, allow_redirects=False) as response,
    ):
        if response.status >= 500:
            raise OSError(f"{address} answered {response.status}")
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _LONGEST_METRICS:
                raise ValueError(f"{address} is too long")
        lines = body.decode("utf-8", "replace").splitlines() if response.status == 200 else []
    for line in lines:
        name, _, rest = line.replace("{", " ", 1).partition(" ")
        if name in _GAUGES:
            found[_GAUGES[name]].append(requests(rest.rpartition("}")[2].split()[0]))
    return found if found["running"] and found["waiting"] else None


class OpenAIEndpoint:
    """One OpenAI-compatible server; the models it serves were chosen when it was started."""

    backend = Backend.VLLM

    def __init__(self, *, name: str, wire: Wire, one_model: bool = False) -> None:
        """`one_model`: whatever it is asked for, it answers by its only model, under a name of its own."""
        self.name = name
        self._wire = wire
        self._one_model = one_model
        self._speakers = Speakers(self._chat)
        self._has_metrics = True

    async def available(self) -> frozenset[str] | None:
        """The models it serves."""
        answer = await self._wire.get("/models")
        if answer.status != 200:
            raise error_of(answer, f"{self._wire.url}/models")
        try:
            return frozenset(str(model["id"]) for model in answer.json["data"] or [])
        except (TypeError, KeyError) as error:
            problem = f"{self._wire.url}/models: is this an OpenAI-compatible server? Its address ends in /v1"
            raise SetupError(problem) from error

    async def loaded(self) -> frozenset[str]:
        """All that it serves."""
        return await self.available() or frozenset()

    async def load(self, model: str, sampling: Sampling) -> None:
        """Nothing to do for a model it serves. Raises SetupError for any other."""
        served = await self.loaded()
        if model not in served:
            raise SetupError(f"{self._wire.url} does not serve {model!r}; it serves: {', '.join(sorted(served))}")

    async def unload(self, model: str) -> None:
        """Nothing to do: the server holds its models until it is stopped."""

    async def files(self) -> Mapping[str, ModelFile]:
        """Nothing: no OpenAI-compatible server tells."""
        return {}

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """Nothing: no OpenAI-compatible server tells."""
        return {}

    async def pressure(self) -> Pressure | None:
        """What its metrics say; None if it has none, or does not answer this time. Never an error."""
        if not self._has_metrics:
            return None
        try:
            gauges = await _gauges(f"{self._wire.url.removesuffix('/v1')}/metrics")
            if gauges is not None:
                return Pressure(running=round(sum(gauges["running"])), waiting=round(sum(gauges["waiting"])))
            self._has_metrics = False
        except (SetupError, aiohttp.ClientError, OSError, TimeoutError, ValueError, IndexError):
            # Whether the server is down is for the calls themselves to find out.
            pass
        return None

    async def speak(self, request: Request) -> Reply:
        """One call by /chat/completions."""
        return await self._speakers.speak(request)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    def wire_to(self, _model: str) -> Wire:
        """The wire that calls of a model go by."""
        return self._wire

    def _chat(self, request: Request) -> tuple[BaseChatModel, dict[str, Any]]:
        sampling = request.sampling
        chat = _Chat(
            model=request.model,
            base_url=self._wire.url,
            # The wire carries the key; this one only keeps the client from looking for its own in the environment.
            api_key=SecretStr("unused"),
            temperature=sampling.temperature,
            seed=sampling.seed,
            max_tokens=sampling.reply_limit,
            max_retries=0,
            use_responses_api=False,
        )
        chat._checked = not self._one_model
        form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": request.schema, "strict": True}}
        return chat.over(self._wire, sampling.timeout_s), {"response_format": form}
