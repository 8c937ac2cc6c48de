"""One strict reading of JSON, for records and for what models say: what parsers read differently is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from orchestrator.limits import LIMITS, Limits

# Possessive, and the closing quote optional: linear in the text, even for a string that is never closed.
_TOKEN = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]:]|-?(?:NaN|Infinity)|-?\d[\d.eE+-]*+',
    re.DOTALL,
)
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|[\x00\ud800-\udfff]")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class JsonError(ValueError):
    """A text is not the JSON object asked for.

    Attributes:
        what: what is wrong, and where.
        mend: what to do about it.
    """

    def __init__(self, what: str, mend: str) -> None:
        """Keep both halves; together they are the error's text."""
        super().__init__(f"{what}: {mend}")
        self.what = what
        self.mend = mend


class _RefusedTokenError(ValueError):
    """A number or constant is refused; the decoder does not say where it stands."""

    def __init__(self, token: str, what: str, mend: str) -> None:
        super().__init__(what)
        self.token = token
        self.what = what
        self.mend = mend


class _RepeatedNameError(ValueError):
    """An object holds a name twice; the decoder does not say where."""


def parse_object(text: str, limits: Limits = LIMITS) -> dict[str, Any]:
    """Read `text` as one JSON object, or raise `JsonError`."""
    _refuse_deep(text, limits.depth)
    try:
        value = _decoder(limits.digits).decode(text)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None
    except _RefusedTokenError as error:
        at = _place(text, _position(text, error.token))
        raise JsonError(f"{error.what} at {at}", error.mend) from None
    except _RepeatedNameError:
        raise _repeated(text) from None
    except RecursionError:
        raise JsonError("nested too deep to be read", "flatten the record, or lower the limit on nesting") from None
    if not isinstance(value, dict):
        kind = _KINDS[type(value)]
        raise JsonError(f"a JSON {kind} at column 1", 'write an object with named fields, such as {"id": "1"}')
    _refuse_unstorable(text)
    return value


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"}


@cache
def _decoder(digits: int) -> json.JSONDecoder:
    def integer(token: str) -> int:
        if len(token.lstrip("-")) > digits:
            what = f"a number of {len(token.lstrip('-'))} digits (the limit is {digits})"
            raise _RefusedTokenError(token, what, "write it as text, in quotes")
        return int(token)

    return json.JSONDecoder(parse_int=integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object)


def _number(token: str) -> float:
    value = float(token)
    if math.isinf(value):
        raise _RefusedTokenError(token, f"{token[:20]} is too large for a number", "write it as text, in quotes")
    return value


def _constant(token: str) -> float:
    raise _RefusedTokenError(token, f"{token} is not JSON", "write null, or leave the field out")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _RepeatedNameError
    return fields


def _refuse_deep(text: str, depth: int) -> None:
    if text.count("{") + text.count("[") <= depth:
        return
    level = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            level += 1
        elif token[0] in "}]":
            level -= 1
        if level > depth:
            what = f"nested deeper than {depth} levels at {_place(text, token.start())}"
            raise JsonError(what, "flatten the record")


def _refuse_unstorable(text: str) -> None:
    if not _SUSPECT.search(text):
        return
    for token in _TOKEN.finditer(text):
        found = _UNSTORABLE.search(json.loads(token[0])) if token[0].startswith('"') else None
        if found:
            name = "a NUL character" if found[0] == "\0" else f"half a surrogate pair (\\u{ord(found[0]):04x})"
            what = f"{name} in the text at {_place(text, token.start())}"
            raise JsonError(what, "take the character out; no database can keep it")


def _syntax_error(text: str, error: json.JSONDecodeError) -> JsonError:
    what = f"not JSON at {_place(text, error.pos)} ({error.msg.removesuffix(' at').lower()})"
    if error.msg == "Extra data":
        return JsonError(what, "write one object, and nothing after it")
    return JsonError(what, "write one complete object on one line, names and texts in double quotes")


def _repeated(text: str) -> JsonError:
    name, start = next(_repeated_names(text))
    what = f"the field {name[:60]!r} stands twice in one object, again at {_place(text, start)}"
    return JsonError(what, "keep one of the two")


def _repeated_names(text: str) -> Iterator[tuple[str, int]]:
    seen: list[set[str]] = []
    last: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            seen.append(set())
        elif token[0] == "}":
            seen.pop()
        elif token[0] == ":" and last is not None:
            name = json.loads(last[0])
            if name in seen[-1]:
                yield name, last.start()
            seen[-1].add(name)
        last = token


def _position(text: str, wanted: str) -> int:
    return next((token.start() for token in _TOKEN.finditer(text) if token[0] == wanted), 0)


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"column {column}" if line == 1 else f"line {line}, column {column}"
