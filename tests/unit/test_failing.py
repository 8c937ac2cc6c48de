"""Failures counted by class and text: texts that differ in numbers only are one."""

from __future__ import annotations

from orchestrator.app.failing import grouped
from orchestrator.errors import ErrorClass, Guard
from orchestrator.store.reading_rows import FailureText
from tests.store_rows import at


def text(
    error: str,
    attempts: int = 1,
    second: int = 0,
    kind: ErrorClass = ErrorClass.SHAPE,
    guard: Guard | None = None,
) -> FailureText:
    return FailureText(
        debate="posting",
        error_class=kind,
        guard=guard,
        error=error,
        attempts=attempts,
        key=f"k{second}",
        at=at(second),
    )


def test_numbers_make_no_new_group() -> None:
    found = grouped([text("line 3", 2, 5), text("line 44", 1, 9), text("no JSON", 9)])

    assert [(group.attempts, group.text, group.key) for group in found] == [(9, "no JSON", "k0"), (3, "line 44", "k9")]


def test_classes_are_kept_apart() -> None:
    found = grouped([text("gone"), text("gone", kind=ErrorClass.TRANSIENT)])

    assert [(group.error_class.value, group.attempts) for group in found] == [("shape", 1), ("transient", 1)]


def test_checks_are_kept_apart() -> None:
    found = grouped([text("half", 2, guard=Guard.COMPLETENESS), text("half")])

    assert [(group.guard, group.attempts) for group in found] == [(Guard.COMPLETENESS, 2), (None, 1)]


def test_ever_new_texts_fill_no_memory() -> None:
    letters = "abcdefghij"

    found = grouped(text("".join(letters[int(digit)] for digit in str(number))) for number in range(5000))

    assert len(found) == 501
    assert sum(group.attempts for group in found) == 5000
