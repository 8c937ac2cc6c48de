"""A reply that came in pieces although it was asked for in one: some proxies stream whatever they are asked.

Ollama streams one JSON object a line, servers that speak OpenAI's API stream events; both write an error that comes
too late for the status as one more piece. The pieces are put together as the object that was asked for, so that the
same checks decide about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_EVENT = "data:"
_END = "[DONE]"
_TEXTS = ("content", "thinking", "reasoning", "reasoning_content", "refusal")


def put_together(body: bytes) -> Any:
    """The object that a streamed body amounts to; an error in any piece is all there is to it.

    Raises:
        ValueError, RecursionError: it is no such stream.
    """
    # Not by splitlines: text may hold other ends of lines as they are.
    lines = [line for line in body.decode().split("\n") if line.strip()]
    if any(line.startswith(_EVENT) for line in lines):
        told = [line.removeprefix(_EVENT).strip() for line in lines if line.startswith(_EVENT)]
        return _of_events([_object(text) for text in told if text != _END], ended=_END in told)
    return _of_lines([_object(line) for line in lines])


def _of_lines(pieces: Sequence[Mapping[str, Any]]) -> Any:
    """Ollama's: the last line says how it ended, and has the counts."""
    if not pieces:
        raise ValueError("nothing but blank lines")
    return _error(pieces) or {**pieces[-1], "message": _texts(piece.get("message") for piece in pieces)}


def _of_events(pieces: Sequence[Mapping[str, Any]], *, ended: bool) -> Any:
    """OpenAI's: a stream that breaks off, or ends without its last word, has no `finish_reason` here."""
    listed = [piece["choices"] for piece in pieces if isinstance(piece.get("choices"), list)]
    choices = [choice for some in listed for choice in some[:1] if isinstance(choice, dict)]
    reasons = [choice.get("finish_reason") for choice in choices if choice.get("finish_reason")]
    message = _texts(choice.get("delta") for choice in choices)
    known = {name: piece[name] for piece in pieces for name in ("model", "usage", "timings") if piece.get(name)}
    reason = reasons[-1] if reasons and ended else None
    return _error(pieces) or {**known, "choices": [{"message": message, "finish_reason": reason}]}


def _error(pieces: Iterable[Mapping[str, Any]]) -> Any:
    return next(({"error": piece["error"]} for piece in pieces if piece.get("error")), None)


def _texts(parts: Iterable[Any]) -> dict[str, str]:
    """Each text of a message, from the parts it came in."""
    texts: dict[str, list[str]] = {}
    for part in parts:
        for name in _TEXTS if isinstance(part, dict) else ():
            if isinstance(part.get(name), str):
                texts.setdefault(name, []).append(part[name])
    return {name: "".join(told) for name, told in texts.items()}


def _object(text: str) -> dict[str, Any]:
    piece = json.loads(text)
    if not isinstance(piece, dict):
        raise ValueError("a piece is no object")
    return piece
