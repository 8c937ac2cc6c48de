"""How many tokens a prompt must have at the least, and whether a server's own count shows that it was cut.

A prompt that is cut without a word would be judged in half. `truncate: false` asks Ollama to refuse it instead; here
is the second line, for servers and proxies that do not listen. Two bounds hold a prompt's tokens up from below:

- every word takes at least one token: the tokenizers of these models join no two words;
- a token holds about so many bytes as it did in this model's earlier prompts. Bytes and not characters, because they
  differ less from one script to another. Until some were seen, it may hold 16; afterwards 2.5 times the most so far.

A recorded cut kept 2,050 of 18,011 tokens for 9,000 words, and another 3,338 of 7,361 for 3,680.

Not every small count is a cut: Ollama 0.30 left out of `prompt_eval_count` what it had cached, and so did early
versions. So a count is held against a prompt only if its opening is new to this model, for then nothing of the record
can be cached, or if the model's counts have been whole for openings that were not new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.errors import OverflowingError, TruncatedError
from orchestrator.ports import Message

ENOUGH = 20  # counts, until they say what the next may be
MARGIN = 2.5  # times the most bytes a token held so far
FIRST = 16.0  # bytes that a token may hold while nothing is known
USUAL = 1.25  # times the mean bytes a token: up to here nobody looks closer
WHOLE = 5  # counts of openings that were not new, until they are known to be whole
_OPENING = 1000  # characters of a record's prompt that no other begins with
_MOST_OPENINGS = 100_000
_REPEATS = re.compile(r"(.)\1\1\1+", re.S)  # the same as \1{3,}, which takes three times as long
# Bytes that white space begins with in UTF-8; some letters and marks begin with the last four as well.
_BLANKS = b"\t\n\v\f\r\x1c\x1d\x1e\x1f \xc2\xe1\xe2\xe3"


class Counts:
    """What one model's server counted of its prompts so far, and what follows for the next."""

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0  # bytes a token
        self._most = 0.0
        self._openings: set[int] = set()
        self._whole = 0  # of openings that were not new: counts that were large enough, and others
        self._short = 0

    def refuse(self, messages: Sequence[Message], context: int) -> None:
        """Refuse a prompt that cannot fit a context of so many tokens, before anything is sent.

        Raises:
            OverflowingError: even by the lower bound it has as many tokens as the context or more.
        """
        # No bound is larger than half the bytes: most prompts need no closer look.
        if size(messages) <= 2 * context or self._at_most(messages) < context:
            return
        least = self._least(messages)
        if least >= context:
            raise OverflowingError(
                f"the prompt has at least {least} tokens, as many as the context of {context} or more: raise context "
                "in the card, or shorten the record (nothing was sent)"
            )

    def check(self, messages: Sequence[Message], told: int | None, reply: str) -> None:
        """Compare a prompt with the tokens the server counted; 0 and None tell nothing.

        Raises:
            TruncatedError: the count is clearly too small.
        """
        if not told:
            return
        opening = hash(next((message.content for message in messages if message.role == "user"), "")[:_OPENING])
        new = opening not in self._openings
        if len(self._openings) >= _MOST_OPENINGS:
            self._openings.clear()
        self._openings.add(opening)
        ratio = size(messages) / told
        usual = self._seen >= ENOUGH and ratio <= USUAL * self._mean
        if usual or told >= self._at_most(messages) or told >= (least := self._least(messages)):
            self._learn(ratio, new)
            return
        if new and told < self._least([message for message in messages if message.role != "system"]):
            raise _cut(told, least, reply)
        self._short += not new
        if self._whole >= WHOLE and self._whole > 4 * self._short:
            raise _cut(told, least, reply)

    def _learn(self, ratio: float, new: bool) -> None:
        self._whole += not new
        self._seen += 1
        self._mean += (ratio - self._mean) / self._seen
        self._most = max(self._most, ratio)

    def _least(self, messages: Sequence[Message]) -> int:
        text = _text(messages)
        # A token may hold a whole row of blanks or dashes.
        dense = len(_REPEATS.sub(r"\1", text).encode())
        return max(len(text.split()), int(dense / self._held()))

    def _at_most(self, messages: Sequence[Message]) -> int:
        """What `_least` can be at the most, at a tenth of its cost: most prompts need no closer look."""
        said = _text(messages).encode()
        words = 1 + len(said) - len(said.translate(None, _BLANKS))
        return max(words, int(len(said) / self._held()))

    def _held(self) -> float:
        return max(2.0, MARGIN * self._most) if self._seen >= ENOUGH else FIRST


def _text(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages)


def size(messages: Sequence[Message]) -> int:
    """Bytes of all that is said in some messages."""
    return sum(len(message.content.encode()) for message in messages)


def _cut(told: int, least: int, reply: str) -> TruncatedError:
    return TruncatedError(
        f"the server read only {told} tokens of a prompt that has at least {least}: it was cut without a word; "
        "give the server a longer context, or shorten the record",
        reply=reply,
    )
