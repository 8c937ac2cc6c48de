"""What the stand-in says: a text that fits the wanted format, cut and counted as the real server cuts and counts.

Tokens are counted by one rule: `chars_per_token` characters each, rounded up; a message costs 6 more, the opening of
the reply 5. Recorded on a tiny model: 12 tokens for the prompt `x`, and 5 for every two words `word word `.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .ollama_asks import Ask, Json, Refused
from .ollama_runners import Settings

MESSAGE_TOKENS = 6
OPENING_TOKENS = 5
# What llama.cpp keeps of a cut prompt's beginning when the client does not say `num_keep`.
DEFAULT_KEEP = 4

WORDS = "The claim is plausible, but the evidence for it is thin."
RUNNER_DIED = "an error was encountered while running the model: unexpected EOF"
OVERFLOW = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)


class RunnerDied(Exception):  # noqa: N818 - what happened, in the server's words
    """Raise it from a `reply` to play a runner that is killed after it said `text`."""

    def __init__(self, text: str = "") -> None:
        """Take what was said before the end."""
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A finished reply: its text in stream parts, why it ended, and what it cost in tokens and nanoseconds."""

    model: str
    parts: tuple[str, ...] = ()
    thinking: bool = False
    done_reason: str = "stop"
    prompt_tokens: int = 0
    tokens: int = 0
    total_ns: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    eval_ns: int = 0
    died: bool = False

    @property
    def text(self) -> str:
        """The whole reply."""
        return "".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The counting rule."""

    chars_per_token: float = 4.0

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return math.ceil(len(text) / self.chars_per_token)

    def first(self, text: str, tokens: int) -> str:
        """As much of a text as `tokens` tokens say."""
        return text[: int(tokens * self.chars_per_token)]

    def split(self, text: str) -> tuple[str, ...]:
        """The tokens of a text, as a stream brings them."""
        ends = [int(number * self.chars_per_token) for number in range(self.count(text) + 1)]
        return tuple(text[start:end] for start, end in zip(ends, [*ends[1:-1], len(text)], strict=False))

    def of_messages(self, messages: Sequence[Json]) -> int:
        """Tokens of a prompt."""
        texts = [message.get("content") or "" for message in messages]
        contents = [text if isinstance(text, str) else json.dumps(text) for text in texts]
        return sum(self.count(text) + MESSAGE_TOKENS for text in contents) + OPENING_TOKENS


def prompt_tokens(ask: Ask, settings: Settings, tokens: Tokens, *, deaf: bool = False) -> int:
    """Tokens the model really reads: the oldest messages are dropped silently, then the last one is cut.

    A `deaf` server does so whatever `truncate` says, as those do that are older than it.
    """
    context = settings.num_ctx
    truncate = deaf or ask.body.get("truncate") is not False
    count = tokens.of_messages(ask.messages)
    oldest = 0
    while truncate and count > context and oldest < len(ask.messages) - 1:
        oldest += 1
        kept = [message for message in ask.messages[:oldest] if message.get("role") == "system"]
        count = tokens.of_messages([*kept, *ask.messages[oldest:]])
    if count <= context:
        return count
    if not truncate:
        raise Refused(400, _exceeds(count, context))
    if not settings.shift:
        raise Refused(400, OVERFLOW)
    keep = int(ask.options.get("num_keep") or DEFAULT_KEEP)
    return keep + (context - keep) // 2


def cut(text: str, options: Json, tokens: Tokens) -> tuple[str, str, int]:
    """The text up to `stop` or `num_predict`, why it ends there, and its tokens with the one that ends it."""
    for stop in options.get("stop") or ():
        text = text.partition(stop)[0]
    limit = int(options.get("num_predict") or -1)
    count = tokens.count(text)
    if 0 < limit <= count:
        return tokens.first(text, limit), "length", limit
    return text, "stop", count + 1


def default_reply(body: Json) -> str:
    """A JSON text that satisfies `format`, or plain words when there is none."""
    wanted = body.get("format")
    if isinstance(wanted, dict):
        return json.dumps(fill(wanted))
    return json.dumps({"reply": WORDS}) if wanted == "json" else WORDS


def check_format(body: Json) -> None:
    """Refuse a `format` the real server cannot turn into a grammar."""
    wanted = body.get("format")
    if isinstance(wanted, dict):
        fill(wanted)
    elif wanted not in (None, "", "json"):
        quoted = json.dumps(json.dumps(wanted))
        raise Refused(500, f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')


def fill(schema: Json) -> Any:
    """The smallest value that satisfies a JSON schema, properties in declared order."""
    return _fill(schema, schema, "#")


def _fill(schema: Json, root: Json, path: str) -> Any:
    if "$ref" in schema:
        return _fill(_resolve(root, schema["$ref"]), root, path)
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _fill(schema[several][0], root, path)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = _kind(schema)
    if kind not in FILLERS:
        raise Refused(400, _bad_schema(path, kind))
    return FILLERS[kind](schema, root, path)


def _kind(schema: Json) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind)


def _resolve(root: Json, reference: str) -> Json:
    found = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def _object(schema: Json, root: Json, path: str) -> Any:
    properties = schema.get("properties") or {}
    return {name: _fill(inner, root, f"{path}/properties/{name}") for name, inner in properties.items()}


def _array(schema: Json, root: Json, path: str) -> Any:
    return [_fill(schema.get("items") or {}, root, f"{path}/items") for _ in range(schema.get("minItems", 0))]


def _string(schema: Json, root: Json, path: str) -> Any:
    return "text".ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _integer(schema: Json, root: Json, path: str) -> Any:
    if "exclusiveMinimum" in schema:
        return math.floor(schema["exclusiveMinimum"]) + 1
    return math.ceil(schema.get("minimum", min(0, schema.get("maximum", 0))))


def _number(schema: Json, root: Json, path: str) -> Any:
    if "exclusiveMinimum" in schema:
        low = float(schema["exclusiveMinimum"])
        return (low + schema["maximum"]) / 2 if "maximum" in schema else low + 1.0
    return float(schema.get("minimum", min(0.0, schema.get("maximum", 0.0))))


FILLERS: dict[str, Callable[[Json, Json, str], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema, root, path: False,
    "null": lambda schema, root, path: None,
}


def _llama_error(message: str, kind: str, **more: int) -> str:
    return json.dumps({"error": {"code": 400, "message": message, "type": kind, **more}}, separators=(",", ":"))


def _exceeds(count: int, context: int) -> str:
    message = f"request ({count} tokens) exceeds the available context size ({context} tokens), try increasing it"
    return _llama_error(message, "exceed_context_size_error", n_prompt_tokens=count, n_ctx=context)


def _bad_schema(path: str, kind: str) -> str:
    message = f"Field 'json_schema': \"json_schema\": JSON schema conversion failed:\nJSON schema error at {path}: "
    return _llama_error(f"{message}unrecognized type {kind}", "invalid_request_error")
