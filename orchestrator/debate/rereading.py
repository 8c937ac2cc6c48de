"""What is stored of a debate, read anew: a turn's text by the reader that took it, the verdict from its judge's turn.

Of a debate that is known here everything must come out as it is stored, but for marks and flags that are not there:
older versions kept none. Of another debate its form is not known: then the fields of the reply are compared, and the
label where the judge itself named one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.cast import Debate
from orchestrator.debate.judging import FALLBACKS, verdict_of
from orchestrator.debate.replies import SIDE, Read, reply_form
from orchestrator.debate.unwrap import WrappedError, unwrapped
from orchestrator.domain import Flag, Turn, Verdict
from orchestrator.errors import ShapeError
from orchestrator.strict_json import JsonError, parse_object


@dataclass(frozen=True, slots=True)
class Rereading:
    """Reads what is stored under one digest; `debate` is None where nobody here knows its definition."""

    debate: Debate | None

    def misread(self, turn: Turn) -> str | None:
        """How a turn differs from what its own text says; None if it does not."""
        try:
            read = self._read(turn)
        except (ShapeError, WrappedError, JsonError) as error:
            return f"its text cannot be read: {error}"
        if other := _differing(read.fields, turn.reply):
            return f"its reply is not what its text says: {other}"
        if [quote.text for quote in turn.quotes] != read.fields.get("evidence", []):
            return "its quotes are not the evidence of its reply"
        came = tuple(mark for mark in turn.marks if mark not in FALLBACKS)
        if self.debate is not None and came and came != read.marks:
            return f"is marked as {_words(came)}, and its text came {_words(read.marks)}"
        return None

    def misjudged(self, turns: Sequence[Turn], verdict: Verdict) -> str | None:
        """How a verdict differs from its judge's turn, the last of `turns`; None if it does not, or if nobody can tell.

        The turns must be as their texts say.
        """
        if self.debate is None:
            side = turns[-1].reply.get(SIDE, verdict.label)
            return None if side == verdict.label else f"its label is {verdict.label}, its judge said {side}"
        follows = verdict_of(self.debate, turns)
        if follows is None or verdict in (follows, replace(follows, flags=())):
            return None
        return f"its verdict is {_said(verdict)}, and {_said(follows)} follows from what was said"

    def _read(self, turn: Turn) -> Read:
        if self.debate is not None:
            return reply_form(self.debate, turn.role, turn.round).read(turn.text)
        return Read(fields=parse_object(unwrapped(turn.text).text))


def _differing(fields: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    """The names of the fields that differ; their order counts, and so does 1 beside true."""
    if json.dumps(fields) == json.dumps(reply):
        return ""
    missing = object()
    names = [
        name
        for name in dict.fromkeys([*fields, *reply])
        if repr(fields.get(name, missing)) != repr(reply.get(name, missing))
    ]
    return ", ".join(names) or "the order of its fields"


def _words(words: Sequence[str]) -> str:
    return ", ".join(words) or "bare"


def _said(verdict: Verdict) -> str:
    return " ".join((str(verdict.score), verdict.label, *map(_flag, verdict.flags)))


def _flag(flag: Flag) -> str:
    return f"({flag.value})"
