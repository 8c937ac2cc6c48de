"""What a run shows while it goes on: on a terminal, and as a line in a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console

from orchestrator.cli.progress import Work, line, screen
from orchestrator.scheduler.tally import Pause, Tally

WORK = Work(tasks=42, turns=126)


def tally() -> Tally:
    """Two servers, one of them at work and one not asked for anything yet."""
    made = Tally(started_at=datetime(2026, 11, 21, tzinfo=UTC), turns=20, done=6)
    made.loaded = {"big": ("qwen2.5:7b",), "small": ()}
    made.in_flight, made.limits = {"big": 12}, {"big": 16}
    return made


def screened(made: Tally) -> list[str]:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(screen(made, WORK, 60.0))
    return [" ".join(row.split()) for row in captured.get().splitlines()]


def test_limit_stands_beside_turns_in_flight() -> None:
    made = tally()

    assert screened(made)[-2:] == ["big qwen2.5:7b in flight 12 of 16", "small nothing loaded in flight 0"]
    assert " · in flight big: 12 of 16; small: 0 · time left " in line(made, WORK, 60.0)


def test_words_of_server_are_no_markup() -> None:
    made = tally()
    made.paused = {"big": Pause(since=made.started_at, why="http://h does not answer: [/red] \x1b[31m")}

    assert "big paused since 00:00:00 UTC: http://h does not answer: [/red] \\u001b[31m in flight 12 of 16" in screened(
        made
    )
    assert line(made, WORK, 60.0).endswith(
        "PAUSED big since 00:00:00 UTC: http://h does not answer: [/red] \\u001b[31m"
    )


def test_pause_says_until_when_it_asked() -> None:
    made = tally()
    made.paused = {"big": Pause(since=made.started_at, why="busy", until=made.started_at + timedelta(minutes=5))}

    assert line(made, WORK, 60.0).endswith(
        "PAUSED big since 00:00:00 UTC, left alone until 00:05:00 UTC as it asked: busy"
    )
