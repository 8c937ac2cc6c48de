"""What is read back is what was written, or it is said that it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.domain import Payload, Role, RunId
from orchestrator.store.codec import (
    UnreadableError,
    json_of,
    json_text,
    object_of,
    texts_of,
    time_of,
    time_text,
    word_of,
    words_of,
)
from orchestrator.store.made import made, text_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    run_id: RunId | None
    name: str
    share: float
    role: Role
    fresh: bool
    at: datetime
    payload: Payload
    words: tuple[Role, ...]


USUAL: dict[str, Any] = {
    "run_id": 1,
    "name": "a",
    "share": 1,
    "role": "judge",
    "fresh": True,
    "at": datetime(2026, 11, 21, tzinfo=UTC),
    "payload": {},
    "words": (),
}


def test_row_becomes_its_dataclass() -> None:
    assert made(Kept, {**USUAL, "more": 1}) == Kept(**{**USUAL, "role": Role.JUDGE})
    assert made(Kept, {**USUAL, "run_id": None}).run_id is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("run_id", "1", "run id: '1' is no whole number"),
        ("run_id", 1.0, "run id: 1.0 is no whole number"),
        ("name", None, "name: None is no text"),
        ("name", b"a", "name: b'a' is no text"),
        ("share", "0.5", "share: '0.5' is no number"),
        ("share", float("inf"), "share: inf is no number"),
        ("share", None, "share: None is no number"),
        ("role", "clerk", "role: 'clerk' is none of: advocate, critic, judge"),
        ("role", None, "role: None is none of: advocate, critic, judge"),
        ("fresh", 1, "fresh: 1 is no bool"),
        ("at", "2026-11-21", "at: '2026-11-21' is no time"),
        ("payload", [], r"payload: \[\] is no Mapping"),
        ("words", "judge", "words: 'judge' is no tuple"),
        ("name", ["x" * 999], r"name: \['x{58} … is no text"),
    ],
)
def test_other_value_is_named_with_its_field(field: str, value: object, said: str) -> None:
    with pytest.raises(UnreadableError, match=f"^{said}$"):
        made(Kept, {**USUAL, field: value})


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *((time_of, value) for value in ("", "today", "2026-11-21", "2026-11-21T10:50:00", None, 5)),
        *((time_of, value) for value in ("2026-11-21T10:50:00+01:00", "0001-01-01T00:00:00.000000Z")),
        *((time_of, value) for value in ("9999-12-31T23:59:59.000000Z", b"2026-11-21T10:50:00Z")),
        *((json_of, value) for value in ("", "{", "nought", None, 5, b"\xff", "[" * 100_000)),
        *((object_of, value) for value in ("[]", "1", "null", '"a"')),
        *((texts_of, value) for value in ("{}", "[1]", "null", "1")),
        *((words_of, value) for value in (None, 1, b"")),
        *((text_in, value) for value in (None, 1, b"")),
    ],
)
def test_what_was_never_written_is_unreadable(read: Callable[[Any], object], value: object) -> None:
    with pytest.raises(UnreadableError):
        read(value)


def test_what_was_written_comes_back() -> None:
    time = datetime(2026, 11, 21, 10, 50, 1, 5, tzinfo=UTC)

    assert time_of(time_text(time)) == time
    assert object_of(json_text({"b": 1, "a": [None, 1.5]})) == {"b": 1, "a": [None, 1.5]}
    assert texts_of(json_text(["a", "b"])) == ("a", "b")
    assert word_of(Role, "judge") is Role.JUDGE
