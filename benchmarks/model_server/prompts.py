"""What a prompt is to the model: a text whose beginning other prompts may share, cut into tokens by one cheap rule.

A message costs 6 tokens and one for every `chars_per_token` characters (4 unless a profile says otherwise), rounded
up; the opening of the reply costs 5: the rule of `tests/servers/ollama_replies.py`. Every message is filled up to a
whole number of tokens, so that two chats that begin with the same characters begin with the same tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.servers.ollama_asks import Json
from tests.servers.ollama_replies import MESSAGE_TOKENS, OPENING_TOKENS, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered chat of `tokens` tokens, each `chars_per_token` characters of `text`."""

    text: str
    tokens: int
    chars_per_token: float = 4.0

    def shared(self, other: Prompt) -> int:
        """How many tokens both begin with."""
        return min(int(_same(self.text, other.text) / self.chars_per_token), self.tokens, other.tokens)

    def blocks(self, size: int, salt: str = "") -> list[int]:
        """A hash for every full block of `size` tokens, each of all that stands before it and in it."""
        width, chain = size * self.chars_per_token, hash(salt)
        hashes = []
        for number in range(self.tokens // size):
            chain = hash((chain, self.text[int(number * width) : int((number + 1) * width)]))
            hashes.append(chain)
        return hashes


def render(messages: Sequence[Json], rule: Tokens, tokens: int | None = None) -> Prompt:
    """The prompt of a chat; `tokens` says how much of it the model really reads, if not all."""
    pieces = [_piece(message, rule) for message in messages]
    width = rule.chars_per_token
    text = "".join(pieces) + "<assistant>".ljust(math.ceil(OPENING_TOKENS * width), "\0")
    whole = rule.of_messages(messages)
    return Prompt(text=text, tokens=whole if tokens is None else tokens, chars_per_token=width)


def _piece(message: Json, rule: Tokens) -> str:
    content = message.get("content") or ""
    text = content if isinstance(content, str) else json.dumps(content)
    width = rule.chars_per_token
    head = f"<{message.get('role', '')}>"[: int(MESSAGE_TOKENS * width)].ljust(math.ceil(MESSAGE_TOKENS * width), "\0")
    return (head + text).ljust(math.ceil((MESSAGE_TOKENS + rule.count(text)) * width), "\0")


def _same(one: str, other: str) -> int:
    """How many characters both begin with, by halves: comparing slices is fast, comparing characters is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
