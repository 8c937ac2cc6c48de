"""What is done about a reply that cannot be used: a ladder of two rungs, each a pure function, and then the end.

First the model is shown its reply and what is wrong with it. Then it is asked afresh, for less: every field named with
its form, and few words in each. What cannot be used after that is a failed attempt. A judge that contradicts itself is
asked about it once and no oftener: asking until the two agree would be fishing for an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, assert_never

from orchestrator.debate.material import as_material
from orchestrator.errors import Guard, ShapeError
from orchestrator.ports import Message

MOST_ASKS = 3
_LONGEST_SHOWN = 4000  # characters of a reply that is shown to its model again
_ENDLESS = 64  # characters of white space at the end of a reply that was cut at its limit
_FEW_WORDS = 40


class Rung(StrEnum):
    """A way of asking again."""

    AGAIN = "again"  # with the reply and what is wrong with it
    SHORTER = "shorter"  # afresh, each field named, few words asked for


def endless(reply: str) -> bool:
    """Whether a reply that was cut at its limit only went on in white space."""
    return len(reply) - len(reply.rstrip()) >= _ENDLESS


def next_rung(told: Sequence[Guard]) -> Rung | None:
    """How to ask again after these checks refused a reply, one for each ask so far; None at the ladder's end."""
    if len(told) >= MOST_ASKS:
        return None
    if told[-1] is Guard.CONTRADICTION:
        return None if Guard.CONTRADICTION in told[:-1] else Rung.AGAIN
    return Rung.AGAIN if len(told) == 1 else Rung.SHORTER


def asked(
    rung: Rung, messages: tuple[Message, ...], schema: Mapping[str, Any], problem: ShapeError
) -> tuple[Message, ...]:
    """The messages of the next ask; `messages` are those of the first one, `schema` is that of the reply."""
    match rung:
        case Rung.AGAIN:
            return asked_again(messages, problem.reply, str(problem))
        case Rung.SHORTER:
            return asked_shorter(messages, schema, str(problem))
        case _:
            assert_never(rung)


def asked_again(messages: tuple[Message, ...], reply: str, problem: str) -> tuple[Message, ...]:
    """The same messages, the reply that could not be used, and what was wrong with it."""
    question = (
        f"That cannot be used: {as_material(problem)}. "
        "Reply again, with the one JSON object that was asked for and nothing else."
    )
    shown = as_material(reply.strip()[:_LONGEST_SHOWN]) or "(nothing)"
    return (*messages, Message(role="assistant", content=shown), Message(role="user", content=question))


def asked_shorter(messages: tuple[Message, ...], schema: Mapping[str, Any], problem: str) -> tuple[Message, ...]:
    """The same messages, the last of them with the fields spelled out and few words asked for.

    No message is added, for some chat templates refuse two of one role in a row.
    """
    fields = [f'- "{name}": {_form(rules)}' for name, rules in schema["properties"].items()]
    question = "\n".join(
        [
            f"Two replies could not be used (the last one: {as_material(problem)}). Reply once more, and shorter: "
            "one JSON object with these fields in this order, and nothing before or after it:",
            *fields,
        ]
    )
    *before, last = messages
    return (*before, replace(last, content=f"{last.content}\n\n{question}"))


def _form(rules: Mapping[str, Any]) -> str:
    if "enum" in rules:
        return f"one of {', '.join(json.dumps(word, ensure_ascii=False) for word in rules['enum'])}"
    match rules["type"]:
        case "array":
            return "a list of at most one text; [] is allowed"
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {rules['minimum']} to {rules['maximum']}"
        case _:
            return f"a text of at most {_FEW_WORDS} words"
