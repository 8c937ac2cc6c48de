"""What an exam asks of a model. The questions are such that a model left to itself would answer them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.ports import Message, Request, Sampling

TONES = ("amber", "violet")
LOW, HIGH = 60, 70
# Neither in the order of the alphabet nor in that of any likely habit, so that a server's own order shows.
FIELDS = ("tone", "count", "agree")
FORM: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "tone": {"type": "string", "enum": list(TONES)},
        "count": {"type": "integer", "minimum": LOW, "maximum": HIGH},
        "agree": {"type": "boolean"},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}
# It holds replies to a length, so that calls overlap for long enough to be seen.
_NUMBERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {"numbers": {"type": "array", "items": {"type": "integer"}, "minItems": 24, "maxItems": 24}},
    "required": ["numbers"],
    "additionalProperties": False,
}
_LONG_REPLY = 64  # tokens
_SHORT_REPLY = 16
_TERSE = "You answer in as few words as possible."


def against_the_form(model: str, sampling: Sampling) -> Request:
    """A question whose own answer, the bare number 11, breaks the schema in every respect."""
    question = "Which number is larger, 9 or 11? Answer with that number alone: no JSON, no braces, no other words."
    return _request(model, sampling, question)


def for_the_form(model: str, sampling: Sampling) -> Request:
    """A question that describes the form in words, as prompts do."""
    question = (
        "Reply with one JSON object and nothing else. Its fields, in this order: tone, which is "
        f'"{TONES[0]}" or "{TONES[1]}"; count, a whole number from {LOW} to {HIGH}; agree, true or false. '
        "Choose any values."
    )
    return _request(model, sampling, question)


def at_length(model: str, sampling: Sampling, number: int) -> Request:
    """A call that takes a while; those of other numbers share no prompt with it."""
    question = f"Count from {number}01 to {number}24, in figures."
    return _request(model, replace(sampling, reply_limit=_LONG_REPLY), question, _NUMBERS)


def again(model: str, sampling: Sampling, messages: tuple[Message, ...], salt: str) -> Request:
    """A prompt of the debate with a beginning that no cache has seen yet; the reply is cut short."""
    first, *rest = messages
    salted = replace(first, content=f"Call {salt}.\n{first.content}")
    short = replace(sampling, reply_limit=_SHORT_REPLY)
    return Request(model=model, messages=(salted, *rest), schema=_NUMBERS, sampling=short)


def too_long(model: str, sampling: Sampling, words: int) -> Request:
    """A prompt of at least so many tokens: no tokenizer makes less than one of a word."""
    return _request(model, replace(sampling, reply_limit=_SHORT_REPLY), "word " * words)


def stand_in_prompt() -> tuple[Message, ...]:
    """A prompt as long as a debate's, for where there is none to render."""
    return _messages(" ".join(f"Rule {number} is like the one before it." for number in range(60)))


def _request(model: str, sampling: Sampling, question: str, schema: Mapping[str, Any] = FORM) -> Request:
    return Request(model=model, messages=_messages(question), schema=schema, sampling=sampling)


def _messages(question: str) -> tuple[Message, ...]:
    return Message(role="system", content=_TERSE), Message(role="user", content=question)
