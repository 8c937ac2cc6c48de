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

_MOST_TOKENS = 2**31

Made = tuple[BaseChatModel, dict[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])


def signed(function: Function) -> Function:
    """Keep a function's signature: LangChain asks for that of `_agenerate` with every call, a tenth of its cost."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


def tokens(value: object) -> int | None:
    """A count as a server gave it; None for anything that is no count, or more than any model reads."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else None


def seconds(value: object, unit: float) -> float | None:
    """A duration as a server gave it, in units of `unit` seconds; None for anything that is no duration."""
    return value * unit if isinstance(value, int | float) and not isinstance(value, bool) else None


def check_speaker(wanted: str, body: dict[str, Any], address: str) -> None:
    """Refuse a reply of another model; servers may say a name more fully than it was asked for, or not at all.

    Raises:
        SetupError: another model answered; its reply must not be taken for the one that was asked.
    """
    told = body.get("model")
    if isinstance(told, str) and told and wanted not in told and told not in wanted:
        raise SetupError(f"{address} was asked for {wanted!r} and answered with {told!r}: give the card that name")


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
