"""What the chat models have in common: LangChain messages in, one complete reply out."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables.config import var_child_runnable_config
from pydantic import PrivateAttr

from orchestrator.backends.wire import Wire
from orchestrator.domain import Usage
from orchestrator.errors import SetupError
from orchestrator.ports import Message, Reply, Request

_LANGCHAIN: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
_WIRE = {"system": "system", "human": "user", "ai": "assistant"}

Made = tuple[BaseChatModel, dict[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])


def signed(function: Function) -> Function:
    """Keep a function's signature: LangChain asks for that of `_agenerate` with every call, a tenth of its cost."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


def check_speaker(wanted: str, body: dict[str, Any], address: str) -> None:
    """Refuse a reply of another model; a server that does not say who spoke is believed.

    Raises:
        SetupError: another model answered; its reply must not be taken for the one that was asked.
    """
    told = body.get("model")
    if isinstance(told, str) and told and not _same(wanted, told):
        raise SetupError(f"{address} was asked for {wanted!r} and answered with {told!r}: give the card that name")


def _same(wanted: str, told: str) -> bool:
    """Whether a name is the one that was asked for, or the same said more fully.

    The recorded servers repeat the name; a llama.cpp that was given no alias says the path of its file.
    """
    asked, said = _parts(wanted), _parts(told)
    return said[-len(asked) :] == asked


def _parts(name: str) -> list[str]:
    """What a name or a path consists of, without the endings that it may have or not."""
    bare = name.removesuffix(":latest").removesuffix(".gguf")
    return bare.replace("\\", "/").split("/")


class OverWire(BaseChatModel):
    """One of LangChain's chat models that sends its requests by our wire, without streaming."""

    _wire: Wire = PrivateAttr()
    _timeout_s: float = PrivateAttr()

    def over(self, wire: Wire, timeout_s: float) -> Self:
        """Use this wire; `timeout_s` bounds one call."""
        self._wire, self._timeout_s = wire, timeout_s
        return self

    @abstractmethod
    async def _post(self, messages: list[dict[str, str]], options: dict[str, Any]) -> Reply:
        """One call. Raises EndpointError unless the reply is complete."""

    @signed
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        roles = [{"role": _WIRE[message.type], "content": str(message.content)} for message in messages]
        reply = await self._post(roles, kwargs)
        return result(reply.text, reply.usage, reply.thinking)


def result(text: str, usage: Usage, thinking: str = "") -> ChatResult:
    """A complete reply as LangChain's models return it; `usage` and `thinking` ride in its metadata."""
    message = AIMessage(content=text, response_metadata={"usage": usage, "thinking": thinking})
    return ChatResult(generations=[ChatGeneration(message=message)])


class Speakers:
    """One chat model for each (model, sampling, schema), made once and used for every call."""

    def __init__(self, make: Callable[[Request], Made]) -> None:
        self._make = make
        self._made: dict[tuple[object, ...], Made] = {}

    async def speak(self, request: Request) -> Reply:
        """Call the model of a request. Raises EndpointError."""
        key = (request.model, request.sampling, tuple(request.schema["properties"]), id(request.schema))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(request)
        chat, options = made
        # The graph's own configuration would be merged into every call, for callbacks that nobody has.
        var_child_runnable_config.set(None)
        message = await chat.ainvoke([_langchain(message) for message in request.messages], **options)
        told = message.response_metadata
        return Reply(text=str(message.content), usage=told["usage"], thinking=told["thinking"])


def _langchain(message: Message) -> BaseMessage:
    return _LANGCHAIN[message.role](content=message.content)
