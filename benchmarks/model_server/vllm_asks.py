"""Reading what a client asks of vLLM, and refusing it in the words and with the status of the real server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.servers.ollama_asks import Json
from tests.servers.ollama_replies import FILLERS

ONE_KIND = "You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice')."
BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
UNSUPPORTED = ("uniqueItems",)


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the server
    """The server answers with this status and error object instead of a reply."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        """Take the words as the real server has them."""
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A readable chat request; `native` is it in Ollama's words, for what words replies. `limit` is in tokens."""

    native: Json
    limit: int | None
    priority: int
    salt: str
    stream: bool
    with_usage: bool
    choices: tuple[str, ...]


def read_json(raw: bytes) -> Json:
    """Decode a body, or refuse it."""
    try:
        body = json.loads(raw.decode(errors="replace"))
    except json.JSONDecodeError as error:
        where = f"body.{error.pos}"
        problem = {"type": "json_invalid", "loc": where, "msg": "JSON decode error", "input": "<dict of 0 items>"}
        words = str({**problem, "ctx": {"error": error.msg}})
        raise _invalid(words, where) from None
    if not isinstance(body, dict):
        raise _invalid(str({"type": "model_attributes_type", "loc": "body"}), "body")
    return body


def read_ask(body: Json, model: str, longest: int) -> Ask:
    """Read a chat request, in the order in which the real server finds fault."""
    _check_fields(body)
    if body.get("model", model) != model:
        words = f"The model `{body['model']}` does not exist. Valid aliases: {model}."
        raise Refused(404, words, "NotFoundError", "model")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    _check_numbers(body, limit, longest)
    structured = body.get("structured_outputs") or {}
    if len(structured) > 1:
        raise Refused(400, ONE_KIND)
    wanted = _wanted(body, structured)
    if isinstance(wanted, dict):
        _check_schema(wanted)
    options = {"num_predict": limit or -1, "stop": body.get("stop") or []}
    if isinstance(options["stop"], str):
        options["stop"] = [options["stop"]]
    return Ask(
        native={"messages": body["messages"], "format": wanted, "options": options},
        limit=limit,
        priority=int(body.get("priority") or 0),
        salt=str(body.get("cache_salt") or ""),
        stream=bool(body.get("stream")),
        with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        choices=tuple(structured.get("choice") or ()),
    )


def check_length(tokens: int, longest: int) -> None:
    """Refuse a prompt that leaves no room for a reply."""
    if tokens >= longest:
        # The real server stops counting as soon as it knows enough.
        counted = min(tokens, longest + 1)
        words = (
            f"This model's maximum context length is {longest} tokens. However, your prompt contains at least "
            f"{counted} input tokens, which exceeds this limit even without any output tokens. "
            f"Please reduce the length of the input prompt. (parameter=input_tokens, value={counted})"
        )
        raise Refused(400, words, param="input_tokens")


def _check_fields(body: Json) -> None:
    if "messages" not in body:
        problem = {"type": "missing", "loc": "body.messages", "msg": "Field required"}
        raise _invalid(str({**problem, "input": f"<dict of {len(body)} items>"}), "body.messages")
    temperature = body.get("temperature")
    if isinstance(temperature, str):
        problem = {"type": "float_parsing", "loc": "body.temperature"}
        message = "Input should be a valid number, unable to parse string as a number"
        raise _invalid(str({**problem, "msg": message, "input": temperature}), "body.temperature")


def _check_numbers(body: Json, limit: int | None, longest: int) -> None:
    temperature = body.get("temperature")
    if temperature is not None and temperature < 0:
        raise _parameter(
            f"temperature must be non-negative, got {float(temperature)}.", "temperature", float(temperature)
        )
    if limit is not None and limit < 1:
        raise _parameter(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)
    if limit is not None and limit > longest:
        words = (
            f"max_tokens={limit} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
        )
        raise _parameter(words, "max_tokens", limit)


def _wanted(body: Json, structured: Json) -> Any:
    """What Ollama would call `format`."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return form["json_schema"].get("schema") or {}
    if form.get("type") == "json_object":
        return "json"
    return structured.get("json")


def _check_schema(schema: Any) -> None:
    """Refuse what the grammar compiler cannot do, wherever it stands."""
    if isinstance(schema, list):
        for inner in schema:
            _check_schema(inner)
    if not isinstance(schema, dict):
        return
    found = [name for name in UNSUPPORTED if name in schema]
    if found:
        raise Refused(400, f"Grammar error: Unimplemented keys: {json.dumps(found)}")
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in FILLERS:
        raise Refused(400, f"Grammar error: Invalid type: {kind}")
    for inner in schema.values():
        _check_schema(list(inner.values()) if isinstance(inner, dict) and "type" not in inner else inner)


def _parameter(words: str, name: str, value: float) -> Refused:
    return Refused(400, f"{words} (parameter={name}, value={value})", param=name)


def _invalid(words: str, where: str) -> Refused:
    return Refused(400, f"1 validation error:\n  {words}", "Bad Request", where)
