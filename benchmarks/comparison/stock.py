"""How the contenders talk to a server: LangChain's stock clients, and the same calls as plain JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

from langchain_core.runnables import Runnable
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient
from pydantic import SecretStr

from orchestrator.cast import Debate
from orchestrator.debate.replies import reply_form
from orchestrator.domain import Role

Speakers: TypeAlias = Mapping[Role, Runnable[Any, Any]]


@asynccontextmanager
async def stock(kind: str, url: str, debate: Debate) -> AsyncIterator[Speakers]:
    """A stock client for each role, told the form of its reply; their connections end with the context."""
    async with AsyncExitStack() as stack:
        make = _ollama if kind == "ollama" else _openai
        yield {actor.role: make(url, debate, actor.role, stack) for actor in debate.actors}


def body(kind: str, debate: Debate, role: Role, messages: Sequence[Mapping[str, str]]) -> tuple[str, dict[str, Any]]:
    """The path and the JSON of one call."""
    actor = debate.actor(role)
    sampling = actor.sampling
    common = {"model": actor.model, "messages": messages, "stream": False}
    if kind == "vllm":
        limits = {"temperature": sampling.temperature, "seed": sampling.seed, "max_tokens": sampling.reply_limit}
        return "/v1/chat/completions", {**common, **limits, "response_format": _form(debate, role)}
    options = {
        "num_ctx": sampling.context,
        "num_predict": sampling.reply_limit,
        "seed": sampling.seed,
        "temperature": sampling.temperature,
    }
    return "/api/chat", {**common, "format": reply_form(debate, role, 1).schema, "options": options}


def read(kind: str, answer: Mapping[str, Any]) -> str:
    """The reply in an answer."""
    message = answer["choices"][0]["message"] if kind == "vllm" else answer["message"]
    return str(message["content"])


def _ollama(url: str, debate: Debate, role: Role, stack: AsyncExitStack) -> Runnable[Any, Any]:
    actor = debate.actor(role)
    sampling = actor.sampling
    chat = ChatOllama(
        model=actor.model,
        base_url=url,
        num_ctx=sampling.context,
        num_predict=sampling.reply_limit,
        temperature=sampling.temperature,
        seed=sampling.seed,
        format=dict(reply_form(debate, role, 1).schema),
    )
    # It has no way of its own to close its connections.
    stack.push_async_callback(chat._async_client.close)
    return chat


def _openai(url: str, debate: Debate, role: Role, stack: AsyncExitStack) -> Runnable[Any, Any]:
    actor = debate.actor(role)
    sampling = actor.sampling
    connections = DefaultAsyncHttpxClient()
    stack.push_async_callback(connections.aclose)
    chat = ChatOpenAI(
        model=actor.model,
        base_url=f"{url}/v1",
        api_key=SecretStr("unused"),
        temperature=sampling.temperature,
        seed=sampling.seed,
        max_tokens=sampling.reply_limit,
        max_retries=0,
        use_responses_api=False,
        http_async_client=connections,
    )
    return chat.bind(response_format=_form(debate, role))


def _form(debate: Debate, role: Role) -> dict[str, Any]:
    schema = reply_form(debate, role, 1).schema
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
