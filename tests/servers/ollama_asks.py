"""Reading what a client asks of Ollama, and refusing it in the words and with the status of the real server."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from .ollama_runners import Settings

# A server's JSON: the one place where nothing is known about a value.
Json: TypeAlias = dict[str, Any]

OPTION_TYPES = {
    "float32": {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty"}
    | {"presence_penalty", "frequency_penalty"},
    "integer": {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep"}
    | {"num_predict", "seed", "top_k", "repeat_last_n"},
    "boolean": {"use_mmap"},
    "array": {"stop"},
}
PYTHON_TYPES = {"float32": (int, float), "integer": (int, float), "boolean": (bool,), "array": (list,)}

# Only these differ between Python's and Go's words for broken JSON.
GO_JSON_WORDS = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting value": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
}

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
DURATION = re.compile(rf"[+-]?(?:{DURATION_PART.pattern})+")


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the stand-in
    """The server answers with this status and error text instead of a reply."""

    def __init__(self, status: int, text: str) -> None:
        """Take the text as the real server words it."""
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A readable call of `/api/chat`; one of `/v1/chat/completions` is turned into the same.

    `keep_s` is None when the client says nothing, infinite for a negative `keep_alive`.
    """

    model: str
    messages: tuple[Json, ...]
    keep_s: float | None
    stream: bool
    options: Json
    body: Json

    @property
    def kind(self) -> str:
        """Tell `chat` from an empty call, which only loads or only unloads."""
        if self.messages:
            return "chat"
        return "unload" if self.keep_s == 0 else "load"


def read_json(raw: bytes) -> Json:
    """Decode a body, or refuse it as Go's decoder would."""
    if not raw.strip():
        raise Refused(400, "missing request body")
    text = raw.decode(errors="replace")
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(400, _go_json_error(text, error)) from None
    if not isinstance(body, dict):
        raise Refused(400, f"json: cannot unmarshal {type(body).__name__} into Go value of type api.ChatRequest")
    return body


def read_ask(body: Json) -> Ask:
    """Read a native call; options are checked later, as the real server does."""
    model = body.get("model")
    keep_s = read_keep_alive(body.get("keep_alive"))
    if not isinstance(model, str) or not model:
        raise Refused(400, "model is required")
    return Ask(
        model=model,
        messages=tuple(body.get("messages") or ()),
        keep_s=keep_s,
        stream=body.get("stream") is not False,
        options=body.get("options") or {},
        body=body,
    )


def as_native(body: Json) -> Json:
    """Turn a `/v1/chat/completions` body into a native one; `num_ctx` and `keep_alive` do not survive it."""
    if not body.get("messages"):
        raise Refused(400, "[] is too short - 'messages'")
    names = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
    names |= {name: name for name in ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")}
    options = {native: body[name] for name, native in names.items() if body.get(name) is not None}
    native = {"messages": body["messages"], "stream": bool(body.get("stream")), "options": options}
    if "model" in body:
        native["model"] = body["model"]
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        native["format"] = "json"
    elif wanted.get("type") == "json_schema":
        native["format"] = wanted["json_schema"]["schema"]
    return native


def read_keep_alive(value: Any) -> float | None:
    """Seconds from a number or a text such as `10m`; negative means for ever."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refused(400, f"Unsupported type: '{type(value).__name__}'")
    seconds = _go_duration(value) if isinstance(value, str) else float(value)
    return math.inf if seconds < 0 else seconds


def read_settings(ask: Ask, default_ctx: int) -> Settings:
    """Check the type of every option and take those a runner is started with."""
    for name, value in ask.options.items():
        _check_option(name, value)
    known = {field.name for field in fields(Settings)} & ask.options.keys()
    chosen = {name: ask.options[name] for name in known if ask.options[name] is not None}
    shift = ask.body.get("shift") is not False
    return Settings(**{"num_ctx": default_ctx, **chosen, "shift": shift})


def check_abilities(ask: Ask, abilities: Sequence[str]) -> None:
    """Refuse `tools` and `think` on a model that cannot."""
    if ask.body.get("tools") and "tools" not in abilities:
        name = ask.model if ":" in ask.model else f"{ask.model}:latest"
        raise Refused(400, f"registry.ollama.ai/library/{name} does not support tools")
    if ask.body.get("think") and "thinking" not in abilities:
        raise Refused(400, f'"{ask.model}" does not support thinking')


def _check_option(name: str, value: Any) -> None:
    for wanted, names in OPTION_TYPES.items():
        fits = isinstance(value, PYTHON_TYPES[wanted]) and isinstance(value, bool) == (wanted == "boolean")
        if name in names and value is not None and not fits:
            raise Refused(500, f'option "{name}" must be of type {wanted}')


def _go_duration(text: str) -> float:
    if text.lstrip("+-") == "0":
        return 0.0
    if not DURATION.fullmatch(text):
        missing = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text)
        raise Refused(400, f'time: {"missing unit in" if missing else "invalid"} duration "{text}"')
    seconds = sum(float(number) * SECONDS[unit] for number, unit in DURATION_PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def _go_json_error(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text) or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    return f"invalid character '{text[error.pos]}' {GO_JSON_WORDS.get(error.msg, 'in string literal')}"
