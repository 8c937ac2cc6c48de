"""When a run that goes wrong is stopped, and what is said then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.errors import ErrorClass
from orchestrator.scheduler.ceiling import ceiling_of, too_many
from orchestrator.scheduler.tally import Tally


@pytest.mark.parametrize(
    ("setting", "failed", "done", "passed"),
    [
        ("0", 0, 100, False),
        ("0", 1, 0, True),
        ("10", 10, 0, False),
        ("10", 11, 1_000_000, True),
        ("5%", 19, 0, False),
        ("5%", 20, 0, True),
        ("5%", 1, 19, False),
        ("5%", 2, 18, True),
        ("5%", 50, 950, False),
        ("5%", 51, 949, True),
        ("100%", 1000, 0, False),
    ],
)
def test_more_than_allowed_passes_the_ceiling(setting: str, failed: int, done: int, passed: bool) -> None:
    ceiling = ceiling_of(setting)

    assert ceiling is not None
    assert str(ceiling) == setting
    assert ceiling.passed(failed, done) is passed


def test_empty_setting_is_no_ceiling() -> None:
    assert ceiling_of("") is None


def test_dominant_class_is_said_with_example() -> None:
    tally = Tally(started_at=datetime(2026, 11, 21, tzinfo=UTC), failed=12, done=3)
    tally.given_up.update({ErrorClass.SHAPE: 9, ErrorClass.OVERFLOW: 3})
    tally.examples[ErrorClass.SHAPE] = "posting-003: the reply is not valid JSON"
    ceiling = ceiling_of("10")
    assert ceiling is not None

    said = str(too_many(ceiling, tally))

    assert said.startswith("more failed than --max-failures 10 allows, after 12 of 15; 9 of them with the class shape")
    assert "posting-003: the reply is not valid JSON" in said
    assert "retry --class shape" in said
