"""How domain values become what SQLite holds, and back: times, JSON and text, without SQLAlchemy.

What is read back is what was written, or `UnreadableError`: a damaged file never makes a wrong value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from orchestrator.domain import JobDraft
from orchestrator.errors import StoreError

_REPLACEMENT = "\ufffd"
_LONGEST_SAID = 60  # characters of a value that cannot be read
_YEARS = range(1970, 9999)  # others cannot be shown in every time zone

Word = TypeVar("Word", bound=StrEnum)


class UnreadableError(ValueError):
    """A stored value is none that the store writes; the text says which. Whoever knows the file says what to do."""


def time_text(time: datetime) -> str:
    """UTC ISO text of fixed width, "2026-11-21T10:50:00.000000Z", so that text order is time order.

    Raises ValueError for a time without a zone.
    """
    if time.tzinfo is not UTC:
        if time.utcoffset() is None:
            raise ValueError(f"{time!r} has no time zone: the store keeps UTC only")
        time = time.astimezone(UTC)
    return f"{time.isoformat(timespec='microseconds')[:26]}Z"


def optional_time_text(time: datetime | None) -> str | None:
    """The same, for a time that may be missing."""
    return None if time is None else time_text(time)


def time_of(text: str) -> datetime:
    """The time, in UTC, of a text written by `time_text`. Raises UnreadableError for any other."""
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise UnreadableError(f"{shortened(text)} is no time") from None
    if time.utcoffset() != timedelta(0) or time.year not in _YEARS:
        raise UnreadableError(f"{shortened(text)} is no time in UTC")
    return time


def storable(text: str) -> str:
    """The text, with NUL and lone surrogates replaced: one policy for whatever a model or a server said."""
    if "\x00" in text:
        text = text.replace("\x00", _REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_REPLACEMENT if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return text


def words_text(words: Iterable[str]) -> str:
    """Words of an enum in one column, "fenced, prose"; empty for none."""
    return ", ".join(words)


def words_of(text: str) -> list[str]:
    """The words of a text written by `words_text`. Raises UnreadableError for what is no text."""
    if not isinstance(text, str):
        raise UnreadableError(f"{shortened(text)} is no list of words")
    return text.split(", ") if text else []


def word_of(kind: type[Word], text: str) -> Word:
    """The word of an enum. Raises UnreadableError for a text that is none of them."""
    try:
        return kind(text)
    except ValueError:
        raise UnreadableError(f"{shortened(text)} is none of: {', '.join(kind)}") from None


def json_text(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON that keeps the order of fields; raises ValueError where strict JSON has no word for it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_of(text: str) -> Any:
    """The value of a text written by `json_text`. Raises UnreadableError for a text that is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise UnreadableError(f"{shortened(text)} is no JSON") from None


def object_of(text: str) -> dict[str, Any]:
    """The JSON object of a text written by `json_text`. Raises UnreadableError for a text that is none."""
    found = json_of(text)
    if not isinstance(found, dict):
        raise UnreadableError(f"{shortened(text)} is no JSON object")
    return found


def texts_of(text: str) -> tuple[str, ...]:
    """The JSON list of texts written by `json_text`. Raises UnreadableError for anything else."""
    found = json_of(text)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise UnreadableError(f"{shortened(text)} is no JSON list of texts")
    return tuple(found)


def shortened(value: object) -> str:
    """The beginning of a stored value as an error may show it."""
    said = repr(value)
    return said if len(said) <= _LONGEST_SAID else f"{said[:_LONGEST_SAID]} …"


def payload_hash_of(payload: Mapping[str, Any]) -> str:
    """SHA-256 of a record, hexadecimal; does not depend on the order of its fields."""
    ordered = json.dumps(payload, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(ordered.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A draft as it is stored; `payload_hash` does not depend on the order of fields."""

    key: str
    payload: str
    payload_hash: str


def record_of(draft: JobDraft) -> Record:
    """Serialise a draft; raises StoreError, naming the key, for what JSON or UTF-8 cannot hold."""
    try:
        if "\x00" in draft.key or not draft.key:
            raise ValueError("a key is a text of at least one character, none of them NUL")
        draft.key.encode()
        payload = json_text(draft.payload)
        payload.encode()
        payload_hash = payload_hash_of(draft.payload)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"record {draft.key!r} cannot be stored: {error}; correct it and submit again") from error
    return Record(key=draft.key, payload=payload, payload_hash=payload_hash)
