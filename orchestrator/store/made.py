"""Dataclasses out of rows: each field is of its type, or the row is none that the store has written.

SQLite keeps any value in any column, and in a damaged file it may be any. What is let through here as the wrong type
would end a command with a traceback, far from its cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from orchestrator.store.codec import UnreadableError, shortened, word_of

Value = TypeVar("Value")
_Read = Callable[[Any], Any]


def made(kind: type[Value], columns: Mapping[Any, Any]) -> Value:
    """A value of a dataclass from what its fields are called in a row; words become those of their enum.

    A field that is a dataclass, a list or a tuple is taken as it is, for it was made from columns before.

    Raises:
        UnreadableError: a field has a value that the store does not write; the text names the field.
    """
    values = {}
    for name, read in _fields(cast(Any, kind)):
        try:
            values[name] = read(columns[name])
        except UnreadableError as error:
            raise UnreadableError(f"{name.replace('_', ' ')}: {error}") from None
    return kind(**values)


def text_in(value: Any) -> str:
    """A column that holds a text. Raises UnreadableError for one that holds anything else."""
    return str(_of((str,), "text", value))


@cache
def _fields(kind: Any) -> tuple[tuple[str, _Read], ...]:
    hints = get_type_hints(kind)
    return tuple((name, _reader(hints[name])) for name in kind.__slots__)


def _reader(hint: Any) -> _Read:
    hint = getattr(hint, "__supertype__", hint)
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return partial(_optional, _reader(inner))
    kind = get_origin(hint) or hint
    if kind is float:
        return _number
    if kind is int:
        return partial(_of, (int,), "whole number")
    if issubclass(kind, StrEnum):
        return partial(word_of, kind)
    if kind is datetime:
        return partial(_of, (datetime,), "time")
    return partial(_of, (dict,) if kind is Mapping else (kind,), {str: "text"}.get(kind, kind.__name__))


def _optional(read: _Read, value: Any) -> Any:
    return None if value is None else read(value)


def _of(kinds: tuple[type, ...], called: str, value: Any) -> Any:
    if isinstance(value, kinds):
        return value
    raise UnreadableError(f"{shortened(value)} is no {called}")


def _number(value: Any) -> Any:
    if isinstance(value, float | int) and math.isfinite(value):
        return value
    raise UnreadableError(f"{shortened(value)} is no number")
