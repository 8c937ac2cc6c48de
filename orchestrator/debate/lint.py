"""Which records carry something that may be meant for a model and not for a reader; they are debated like the others.

The lint finds what can be seen from outside: delimiters, role markers, unseen characters, text that a browser would
not show. It does not judge what a text says: a plain sentence that asks for a high score is an argument, and finds its
answer in the debate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator.debate.material import fences, folded, role_markers
from orchestrator.unseen import UNSEEN, named, unseen

_LONGEST_EXCERPT = 60  # characters
_STYLE = r"""
    display\s*:\s*none | visibility\s*:\s*(?:hidden|collapse) | font-size\s*:\s*0*[01]?(?:px|pt|em|%)?\s*(?=[;"'])
  | opacity\s*:\s*0(?:\.0\d*)?\s*(?=[;"']) | text-indent\s*:\s*-\d{3,} | (?<![\w-])(?:left|top)\s*:\s*-\d{3,}
  | (?<![\w-])color\s*:\s*(?:white\b|\#fff(?:fff)?\b|transparent\b|rgba?\(\s*255\s*,\s*255\s*,\s*255)
"""
# As far as the text alone tells: a class whose style hides it is not known here.
_HIDDEN = re.compile(
    rf"""
      style\s*=\s*["'][^"'<>]{{0,300}}?(?:{_STYLE})
    | <font\b[^<>]{{0,200}}\bcolor\s*=\s*["']?(?:white\b|\#fff(?:fff)?\b)
    | <[a-z][^<>]{{0,300}}?\shidden(?=[\s>=/])
    | <!--(?!\[if)(?=[^>]{{0,400}}\w\s+\w)
    | ^\[//\]:[ ]*\#
    """,
    re.X | re.I | re.M,
)


class Sign(StrEnum):
    """What a record carries."""

    FENCE = "fence"  # the lines between which material stands in a prompt, or an imitation of them
    ROLE_MARKER = "role marker"  # what a chat template begins or ends a role with
    UNSEEN = "unseen characters"  # zero-width, bidirectional, tag and control characters
    HIDDEN = "hidden text"  # HTML that a browser does not show: no display, no size, white, a comment


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A sign in one field of a record: how often it occurs there, and the first of it with what follows."""

    field: str
    sign: Sign
    count: int
    excerpt: str


def marks(payload: Mapping[str, Any]) -> tuple[Mark, ...]:
    """What the lint finds in a record, in the order of its fields; a field inside another is written `outer.inner`."""
    return tuple(mark for field, text in _texts("", payload) for mark in _marks(field, text))


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case Mapping():
            for name, inner in value.items():
                yield from _texts(f"{path}.{name}" if path else str(name), inner)
        case list():
            for inner in value:
                yield from _texts(path, inner)


def _marks(field: str, text: str) -> Iterator[Mark]:
    plain = folded(text)
    places = {
        Sign.FENCE: [start for start, _ in fences(plain)],
        Sign.ROLE_MARKER: [start for start, _ in role_markers(plain)],
        Sign.UNSEEN: [found.start() for found in UNSEEN.finditer(text)] if unseen(text) else [],
        Sign.HIDDEN: [found.start() for found in _HIDDEN.finditer(plain)] if "<" in plain or "[//]" in plain else [],
    }
    for sign, starts in places.items():
        if starts:
            yield _mark(field, sign, text, sorted(starts))


def _mark(field: str, sign: Sign, text: str, starts: list[int]) -> Mark:
    excerpt = named(text[starts[0] : starts[0] + _LONGEST_EXCERPT]).replace("\n", " ")
    return Mark(field=field, sign=sign, count=len(starts), excerpt=excerpt.strip()[:_LONGEST_EXCERPT])
