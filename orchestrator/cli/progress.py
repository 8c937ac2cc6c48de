"""What a run looks like while it goes on."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli.format import counted, duration, visible

if TYPE_CHECKING:
    from orchestrator.scheduler.tally import Pause, Tally

_REFRESH_S = 0.5
_PLAIN_S = 10.0
_LAST_NOTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was waiting when the run began."""

    tasks: int
    turns: int


@contextmanager
def shown(work: Work) -> Iterator[Callable[[Tally], None]]:
    """Show the tally that is handed over once the run begins, until the block ends. On standard error."""
    console = Console(stderr=True)
    over = threading.Event()
    threads: list[threading.Thread] = []

    def begin(tally: Tally) -> None:
        show = _live if console.is_terminal else _plain
        thread = threading.Thread(target=show, args=(console, tally, work, over), daemon=True)
        threads.append(thread)
        thread.start()

    try:
        yield begin
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=5)


def _live(console: Console, tally: Tally, work: Work, over: threading.Event) -> None:
    started = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not over.wait(_REFRESH_S):
            live.update(screen(tally, work, time.monotonic() - started), refresh=True)


def _plain(console: Console, tally: Tally, work: Work, over: threading.Event) -> None:
    started, said = time.monotonic(), 0
    while not over.wait(_PLAIN_S):
        said = _new_notes(tally, said)
        print(line(tally, work, time.monotonic() - started), file=sys.stderr, flush=True)
    _new_notes(tally, said)


def _new_notes(tally: Tally, said: int) -> int:
    notes, forgotten = list(tally.notes), tally.forgotten
    for note in notes[max(0, said - forgotten) :]:
        print(f"  {visible(note)}", file=sys.stderr, flush=True)
    return forgotten + len(notes)


def screen(tally: Tally, work: Work, seconds: float) -> Group:
    """All there is to see, for a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_row("done", f"{tally.done:,} of {work.tasks:,}", "failed", f"{tally.failed:,}")
    table.add_row("turns", f"{tally.turns:,}", "per minute", f"{_per_minute(tally, seconds):.1f}")
    table.add_row("loads", f"{tally.swaps:,}", "time left", _time_left(tally, work, seconds))
    for endpoint, models in tally.loaded.items():
        # The reason is a server's own words: nothing in it is markup.
        pause = tally.paused.get(endpoint)
        state = ", ".join(models) or "nothing loaded" if pause is None else f"paused {_since(pause)}"
        table.add_row(endpoint, Text(state), "in flight", _in_flight(tally, endpoint))
    return Group(
        table, *(Text(f"  {visible(note)}", overflow="ellipsis", no_wrap=True) for note in tally.notes[-_LAST_NOTES:])
    )


def line(tally: Tally, work: Work, seconds: float) -> str:
    """The same in one line, for a file."""
    loaded = "; ".join(f"{endpoint}: {', '.join(models) or 'nothing'}" for endpoint, models in tally.loaded.items())
    in_flight = "; ".join(f"{endpoint}: {_in_flight(tally, endpoint)}" for endpoint in tally.loaded)
    parts = [
        f"done {tally.done} of {work.tasks}",
        f"failed {tally.failed}",
        counted(tally.turns, "turn"),
        f"{_per_minute(tally, seconds):.1f} per minute",
        f"loads {tally.swaps}",
        f"loaded {loaded}",
        f"in flight {in_flight}",
        f"time left {_time_left(tally, work, seconds)}",
        *(f"PAUSED {endpoint} {_since(pause)}" for endpoint, pause in tally.paused.items()),
    ]
    return " · ".join(parts)


def _since(pause: Pause) -> str:
    until = f", left alone until {pause.until:%H:%M:%S} UTC as it asked" if pause.until else ""
    return f"since {pause.since:%H:%M:%S} UTC{until}: {visible(pause.why)}"


def _in_flight(tally: Tally, endpoint: str) -> str:
    """Turns in flight, and how many may be: a number that a run finds is worth watching."""
    limit = tally.limits.get(endpoint)
    return f"{tally.in_flight.get(endpoint, 0)}{f' of {limit}' if limit else ''}"


def _per_minute(tally: Tally, seconds: float) -> float:
    return 60 * tally.turns / seconds if seconds > 0 else 0.0


def _time_left(tally: Tally, work: Work, seconds: float) -> str:
    """By turns, because with one small GPU no verdict is spoken before most of the other turns are."""
    if not tally.turns or seconds < 2:
        return "…"
    return duration(seconds * max(0, work.turns - tally.turns) / tally.turns)
