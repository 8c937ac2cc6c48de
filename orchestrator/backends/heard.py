"""A whole answer as a server gave it: more of it than a run reads, and read even where a run would refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.numbers import seconds, tokens
from orchestrator.backends.wire import Answer
from orchestrator.domain import Backend

_NANO, _MILLI = 1e-9, 1e-3
_THINKING = ("reasoning_content", "reasoning")  # llama.cpp's word, and vLLM's


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer to a chat call.

    Attributes:
        text: the reply's content.
        thinking: what stands in the field for thinking.
        finish: why it ended, in the server's word; `length` at a limit.
        waited_s, worked_s: by the server's own times, in seconds; only Ollama tells them.
        prompt_s: reading the prompt.
        cached_tokens: tokens of the prompt that came from a cache; None if the server does not tell.
    """

    status: int
    text: str = ""
    thinking: str = ""
    finish: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_s: float | None = None
    waited_s: float | None = None
    worked_s: float | None = None


def heard(answer: Answer, backend: Backend) -> Heard:
    """Read an answer; whatever it lacks stays empty."""
    body = _object(answer.json)
    return _ollama(answer.status, body) if backend is Backend.OLLAMA else _openai(answer.status, body)


def _ollama(status: int, body: Mapping[str, Any]) -> Heard:
    message = _object(body.get("message"))
    total, load = (seconds(body.get(f"{name}_duration"), _NANO) for name in ("total", "load"))
    prompt, reply = (seconds(body.get(f"{name}_duration"), _NANO) for name in ("prompt_eval", "eval"))
    waited = worked = None
    if total is not None and prompt is not None and reply is not None:
        # Waiting for a slot is in no part of the total.
        worked = prompt + reply
        waited = max(0.0, total - (load or 0.0) - worked)
    return Heard(
        status=status,
        text=_text(message.get("content")),
        thinking=_text(message.get("thinking")),
        finish=_text(body.get("done_reason")),
        prompt_tokens=tokens(body.get("prompt_eval_count")),
        prompt_s=prompt,
        waited_s=waited,
        worked_s=worked,
    )


def _openai(status: int, body: Mapping[str, Any]) -> Heard:
    choices = body.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    message = _object(choice.get("message"))
    usage, timings = _object(body.get("usage")), _object(body.get("timings"))
    return Heard(
        status=status,
        text=_text(message.get("content")),
        thinking=next((_text(message[name]) for name in _THINKING if message.get(name)), ""),
        finish=_text(choice.get("finish_reason")),
        prompt_tokens=tokens(usage.get("prompt_tokens")),
        cached_tokens=tokens(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        prompt_s=seconds(timings.get("prompt_ms"), _MILLI),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
