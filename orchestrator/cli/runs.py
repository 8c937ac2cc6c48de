"""What a run looks like while it goes on, and what it says at the end."""

from __future__ import annotations

import json as json_
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli import debates
from orchestrator.cli.comparing import compared
from orchestrator.cli.format import counted, duration, visible
from orchestrator.cli.records import plain

if TYPE_CHECKING:
    from orchestrator.app.looking import Comparison
    from orchestrator.app.running import RunRequest
    from orchestrator.app.workplace import Workplace
    from orchestrator.scheduler.run import RunEnd
    from orchestrator.scheduler.tally import Tally

_REFRESH_S = 0.5
_PLAIN_S = 10.0
_LAST_NOTES = 4


def process(place: Workplace, request: RunRequest, json: bool) -> int:
    """Run, with a live display on a terminal and plain lines elsewhere; the exit code."""
    from orchestrator.app import looking, planning, running

    work = _Work(tasks=running.left(place, request), turns=planning.turns_left(place, request.debate))
    with _shown(work) as display:
        end = running.process_pending(place, request, display)
    remaining = running.left(place, request)
    comparisons = looking.comparisons(place, end.run_id)
    if json:
        print(json_.dumps({**_record(end, remaining), "comparisons": plain(comparisons)}))
    else:
        _say_end(end, remaining, comparisons)
    return exit_code(end)


def dry(place: Workplace, request: RunRequest, limit: int, json: bool) -> int:
    """Show debates turn by turn and store nothing; the exit code."""
    from orchestrator.app import running

    watch = debates.json_turn if json else debates.spoken_turn
    end = running.dry_run(place, request, limit, watch)
    if not json:
        print(f"\ndry run: {end.tally.turns} turns, {end.tally.done} verdicts; nothing was stored")
        for note in end.tally.notes:
            print(f"  {visible(note)}")
    return exit_code(end)


def exit_code(end: RunEnd) -> int:
    """0 done, 1 stopped by an error or nothing but failures, 130 interrupted."""
    if end.status.value == "done":
        return int(end.tally.failed > 0 and end.tally.done == 0)
    return 130 if end.status.value == "interrupted" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What was waiting when the run began."""

    tasks: int
    turns: int


@contextmanager
def _shown(work: _Work) -> Iterator[Callable[[Tally], None]]:
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


def _live(console: Console, tally: Tally, work: _Work, over: threading.Event) -> None:
    started = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not over.wait(_REFRESH_S):
            live.update(_screen(tally, work, time.monotonic() - started), refresh=True)


def _plain(console: Console, tally: Tally, work: _Work, over: threading.Event) -> None:
    started, said = time.monotonic(), 0
    while not over.wait(_PLAIN_S):
        said = _new_notes(tally, said)
        print(_line(tally, work, time.monotonic() - started), file=sys.stderr, flush=True)
    _new_notes(tally, said)


def _new_notes(tally: Tally, said: int) -> int:
    notes, forgotten = list(tally.notes), tally.forgotten
    for note in notes[max(0, said - forgotten) :]:
        print(f"  {visible(note)}", file=sys.stderr, flush=True)
    return forgotten + len(notes)


def _screen(tally: Tally, work: _Work, seconds: float) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_row("done", f"{tally.done:,} of {work.tasks:,}", "failed", f"{tally.failed:,}")
    table.add_row("turns", f"{tally.turns:,}", "per minute", f"{_per_minute(tally, seconds):.1f}")
    table.add_row("loads", f"{tally.swaps:,}", "time left", _time_left(tally, work, seconds))
    for endpoint, models in tally.loaded.items():
        state = (
            f"paused: {tally.paused[endpoint]}" if endpoint in tally.paused else ", ".join(models) or "nothing loaded"
        )
        table.add_row(endpoint, state, "in flight", str(tally.in_flight.get(endpoint, 0)))
    return Group(
        table, *(Text(f"  {visible(note)}", overflow="ellipsis", no_wrap=True) for note in tally.notes[-_LAST_NOTES:])
    )


def _line(tally: Tally, work: _Work, seconds: float) -> str:
    loaded = "; ".join(f"{endpoint}: {', '.join(models) or 'nothing'}" for endpoint, models in tally.loaded.items())
    parts = [
        f"done {tally.done} of {work.tasks}",
        f"failed {tally.failed}",
        f"{tally.turns} turns",
        f"{_per_minute(tally, seconds):.1f} per minute",
        f"loads {tally.swaps}",
        f"loaded {loaded}",
        f"time left {_time_left(tally, work, seconds)}",
        *(f"PAUSED {endpoint}: {reason}" for endpoint, reason in tally.paused.items()),
    ]
    return " · ".join(parts)


def _per_minute(tally: Tally, seconds: float) -> float:
    return 60 * tally.turns / seconds if seconds > 0 else 0.0


def _time_left(tally: Tally, work: _Work, seconds: float) -> str:
    """By turns, because with one small GPU no verdict is spoken before most of the other turns are."""
    if not tally.turns or seconds < 2:
        return "…"
    return duration(seconds * max(0, work.turns - tally.turns) / tally.turns)


def _say_end(end: RunEnd, remaining: int, comparisons: Sequence[Comparison]) -> None:
    tally = end.tally
    labels = ", ".join(f"{label} {count}" for label, count in tally.labels.most_common())
    print(
        f"run {end.run_id}: {tally.done} done{f' ({labels})' if labels else ''}, {tally.failed} failed, "
        f"{counted(tally.turns, 'turn')}, {counted(tally.swaps, 'load')}"
    )
    for line in (*compared(comparisons, done=end.status.value == "done"), *_remarks(tally)):
        print(f"  {line}")
    if end.error is not None:
        print(f"orchestrate: stopped: {end.error}", file=sys.stderr)
    if remaining:
        print(f"  {counted(remaining, 'task')} left; the same command goes on: orchestrate process-pending")
    if tally.failed:
        print("  see what failed: orchestrate errors")


def _remarks(tally: Tally) -> Iterator[str]:
    if tally.superseded:
        what = "pending tasks were of an older version of their debate; they now run under the present one"
        yield f"{tally.superseded} {what}"
    if tally.rescued:
        yield f"{tally.rescued} tasks of a run that had died or stood still were put back"
    if tally.lost:
        yield f"{tally.lost} turns came too late to be kept: their tasks had been put back meanwhile"
    if tally.failures:
        counts = ", ".join(f"{kind.value} {count}" for kind, count in tally.failures.most_common())
        yield f"failed attempts: {counts}"
    if tally.quotes:
        yield f"quotes found in their record: {tally.quotes_verified} of {tally.quotes}"


def _record(end: RunEnd, remaining: int) -> dict[str, Any]:
    tally = end.tally
    return {
        "run": end.run_id,
        "status": end.status.value,
        "error": str(end.error) if end.error else None,
        "done": tally.done,
        "failed": tally.failed,
        "left": remaining,
        "turns": tally.turns,
        "asked_again": tally.asked_again,
        "lost": tally.lost,
        "swaps": tally.swaps,
        "rescued": tally.rescued,
        "superseded": tally.superseded,
        "prompt_tokens": tally.prompt_tokens,
        "reply_tokens": tally.reply_tokens,
        "quotes": tally.quotes,
        "quotes_verified": tally.quotes_verified,
        "labels": dict(tally.labels),
        "failed_attempts": {kind.value: count for kind, count in tally.failures.items()},
    }
