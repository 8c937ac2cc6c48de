"""The one JSON object in what a model wrote, with what it came wrapped in.

Models put a reply into a Markdown fence, say a word before and after it, or think aloud first. That is harmless as long
as there is exactly one object: it is taken out, and the turn is marked. Two objects are not, for nobody knows which one
is meant; nor is half of one. Every step is linear in the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from orchestrator.domain import Mark

_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"
_FENCES = ("```", "~~~")
_FENCE_OPENS = re.compile(r"(?:```|~~~)[ \t]*\w*\Z")
_LONGEST_OPENING = 32  # characters of a fence with its language
# A possessive string whose closing quote is optional: linear, even for one that is never closed.
_INSIDE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}]', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]]")


class WrappedError(ValueError):
    """What a model wrote does not hold one whole object; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """The text of the one object, or all of the text where it holds none, and what was taken off."""

    text: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A pair of braces that no other pair holds; `end` is None if it is never closed."""

    start: int
    end: int | None


def unwrapped(text: str) -> Unwrapped:
    """Take the one object out of a text.

    A text without an object is returned as it is: what is wrong with it is for the reader of JSON to say.

    Raises:
        WrappedError: nothing stands there, or several objects, or one that does not end.
    """
    body, thought = _after_thinking(text)
    if not body:
        raise WrappedError("nothing stands after its thinking" if thought else "it is empty")
    if body.startswith(_THOUGHT_BEGINS):
        raise WrappedError("its thinking does not end")
    marks = [Mark.THOUGHT] if thought else []
    blocks = list(islice(_objects(body), 2))
    if not blocks:
        return Unwrapped(text=body, marks=tuple(marks))
    block = blocks[0]
    if block.end is None:
        raise WrappedError("it ends in the middle of its object")
    if len(blocks) > 1:
        raise WrappedError("it holds more than one object, and which one is meant is not said")
    head, tail = body[: block.start].rstrip(), body[block.end :].lstrip()
    if _in_list(head, tail):
        raise WrappedError("its object stands in a list")
    around = _around(head, tail)
    return Unwrapped(text=body[block.start : block.end], marks=(*around, *marks))


def _after_thinking(text: str) -> tuple[str, bool]:
    """What follows a model's thinking, without white space at its ends, and whether there was any thinking."""
    body = text.strip()
    if body.startswith("{"):
        return body, False
    # Some chat templates write the opening <think> into the prompt, so only the end of it can be relied on.
    _, ended, rest = body.partition(_THOUGHT_ENDS)
    return (rest.strip(), True) if ended else (body, False)


def _objects(text: str) -> Iterator[_Block]:
    """The blocks that are objects, or what a model may mean by one; braces in prose are none."""
    return (block for block in _blocks(text) if _is_object(text[block.start + 1 : block.end]))


def _is_object(inner: str) -> bool:
    """Whether braces hold fields, however they are quoted, or nothing at all."""
    return '"' in inner or ":" in inner or not inner.rstrip("} \t\r\n")


def _blocks(text: str) -> Iterator[_Block]:
    """Each outermost pair of braces; the last one may be open."""
    start = text.find("{")
    while start >= 0:
        end = _end(text, start)
        yield _Block(start=start, end=end)
        if end is None:
            return
        start = text.find("{", end)


def _end(text: str, start: int) -> int | None:
    """Where the block that begins at `start` ends; braces in strings do not count."""
    level = 0
    for token in _INSIDE.finditer(text, start):
        match text[token.start()]:
            case "{":
                level += 1
            case "}":
                level -= 1
        if level == 0:
            return token.end()
    return None


def _in_list(head: str, tail: str) -> bool:
    """Whether what stands around an object makes a list of it; intervals in prose open or close on one side only."""
    opened, closed = _left_open(head, "["), _left_open(tail[::-1], "]")
    return (opened and closed) or (opened and head.endswith(("[", ","))) or (closed and tail.startswith(("]", ",")))


def _left_open(text: str, opening: str) -> bool:
    """Whether a bracket is opened in a text that none closes."""
    level = 0
    for bracket in _BRACKETS.findall(text):
        level = level + 1 if bracket == opening else max(0, level - 1)
    return level > 0


def _around(head: str, tail: str) -> Iterator[Mark]:
    """What stands around an object; a fence that is not closed, or not opened, is one all the same."""
    opening = _FENCE_OPENS.search(head[-_LONGEST_OPENING:])
    closes = tail.startswith(_FENCES)
    if opening is not None or closes:
        yield Mark.FENCED
    head = head[: len(head) - len(opening[0])].strip() if opening else head
    tail = tail[len(_FENCES[0]) :].strip() if closes else tail
    if head or tail:
        yield Mark.PROSE
