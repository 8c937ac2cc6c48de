"""How an answer is compared with a recorded one: its shape throughout, its facts word for word."""

import json
from typing import Any


def shape(value: Any) -> Any:
    """Keys and value types; what a model's file holds is the model's own."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key not in ("model_info", "tensors")}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def facts(value: Any) -> list[Any]:
    """What must be equal word for word: errors, and why a reply ended."""
    if isinstance(value, list):
        return [fact for inner in value for fact in facts(inner)]
    if not isinstance(value, dict):
        return []
    names = ("error", "done", "done_reason", "finish_reason", "object", "role", "version")
    return [(name, value[name]) for name in names if name in value] + facts(list(value.values()))


def read(content_type: str, text: str) -> Any:
    """A body as values, a stream as the list of its lines."""
    if "json" not in content_type and "event" not in content_type:
        return text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.strip()]
    values = [line if line == "[DONE]" else json.loads(line) for line in lines]
    return values[0] if len(values) == 1 else values
