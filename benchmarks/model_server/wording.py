"""What is said: how long a reply is, a text of that length that fits the wanted form, and which calls fail.

All of it follows from the prompt, the profile's seed and the number of the call: the same run gives the same replies.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.ollama_asks import Json
from tests.servers.ollama_replies import WORDS, Tokens, cut, fill

from .profile import ReplySettings
from .prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A reply: its text, why it ends, its tokens with the one that ends it, and which `stop` cut it off."""

    text: str
    reason: str
    tokens: int
    stopped_at: str | None = None


def word(body: Json, prompt: Prompt, settings: ReplySettings, rule: Tokens) -> Wording:
    """Word the reply to a native body: `messages`, `format`, and `num_predict` and `stop` among its options."""
    tokens = length(body["messages"], prompt, settings)
    text = say(body.get("format"), int((tokens - 1) * rule.chars_per_token), _chance(settings.seed, prompt.text))
    options = body.get("options") or {}
    stopped_at = next((stop for stop in options.get("stop") or () if stop in text), None)
    text, reason, count = cut(text, options, rule)
    return Wording(text=text, reason=reason, tokens=count, stopped_at=stopped_at if reason == "stop" else None)


def length(messages: Sequence[Json], prompt: Prompt, settings: ReplySettings) -> int:
    """Tokens of a reply before it is cut."""
    last = str(messages[-1].get("content") or "")
    base = next((rule.tokens for rule in settings.by_role if rule.match in last), settings.tokens)
    return max(2, round(base * (1 + settings.jitter * (2 * _chance(settings.seed, prompt.text) - 1))))


def say(wanted: Any, characters: int, chance: float) -> str:
    """A text of so many characters, or the shortest that has the wanted form if that is longer."""
    if not wanted:
        return _prose(characters, chance)
    reply = fill(wanted) if isinstance(wanted, dict) else {"reply": ""}
    name = _stretchable(wanted if isinstance(wanted, dict) else {}, reply)
    if name is not None:
        reply[name] = ""
        reply[name] = _prose(max(1, characters - len(json.dumps(reply))), chance)
    return json.dumps(reply)


def fails(settings: ReplySettings, number: int) -> bool:
    """Whether the call of this number fails."""
    return _chance(settings.seed, f"call {number}") < settings.fail_share


def _stretchable(schema: Json, reply: Any) -> str | None:
    """The first property that is a text without bounds of its own."""
    if not isinstance(reply, dict):
        return None
    bound = {"enum", "const", "maxLength", "pattern", "format", "$ref"}
    properties = schema.get("properties") or {}
    free = (
        name for name, value in reply.items() if isinstance(value, str) and not bound & set(properties.get(name, ()))
    )
    return next(free, None)


def _prose(characters: int, chance: float) -> str:
    """Words that differ from reply to reply."""
    opening = f"{int(chance * 1e9):09d}. "
    return (opening + (WORDS + " ") * (characters // len(WORDS) + 1))[:characters]


def _chance(seed: int, text: str) -> float:
    """A number from 0 to 1 that a seed and a text decide."""
    return zlib.crc32(f"{seed} {text}".encode()) / 2**32
