"""A pause says since when, why, and how long the server asked to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.scheduler.outages import prolonged
from orchestrator.scheduler.tally import Pause, Tally

NOW = datetime(2026, 11, 21, 23, 59, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_pause_without_a_wish_has_no_end() -> None:
    assert prolonged(None, "down", NOW, 0.0) == Pause(since=NOW, why="down")


def test_longer_wish_of_two_is_kept() -> None:
    first = prolonged(None, "busy", NOW, 600)

    assert prolonged(first, "still busy", after(5), 60) == Pause(since=NOW, why="still busy", until=after(600))
    assert prolonged(first, "still busy", after(5), 3600) == Pause(since=NOW, why="still busy", until=after(3605))
    assert prolonged(first, "down", after(5), 0.0) == Pause(since=NOW, why="down", until=after(600))


def test_wish_that_is_over_is_forgotten() -> None:
    first = prolonged(None, "busy", NOW, 600)

    assert prolonged(first, "down", after(600), 0.0) == Pause(since=NOW, why="down")


def test_wish_is_said_where_there_is_one() -> None:
    made = Tally(started_at=NOW)
    made.paused = {"a": Pause(since=NOW, why="busy", until=after(3600)), "b": Pause(since=NOW, why="down")}

    assert made.pauses() == (
        "a paused since 2026-11-21 23:59:00 UTC, left alone until 2026-11-22 00:59:00 UTC as it asked: busy; "
        "b paused since 2026-11-21 23:59:00 UTC: down"
    )
