"""How domain values become what SQLite holds, and back: times, JSON and text, without SQLAlchemy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain import JobDraft
from orchestrator.errors import StoreError

_REPLACEMENT = "\ufffd"


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
    """The time, in UTC, of a text written by `time_text`."""
    return datetime.fromisoformat(text)


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
    """The words of a text written by `words_text`."""
    return text.split(", ") if text else []


def json_text(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON that keeps the order of fields; raises ValueError where strict JSON has no word for it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_of(text: str) -> Any:
    """The value of a text written by `json_text`."""
    return json.loads(text)


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
        ordered = json.dumps(draft.payload, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"record {draft.key!r} cannot be stored: {error}; correct it and submit again") from error
    return Record(key=draft.key, payload=payload, payload_hash=hashlib.sha256(ordered.encode()).hexdigest())
