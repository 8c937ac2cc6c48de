"""Tables for people: the state of things, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli import doubts
from orchestrator.cli.comparing import compared
from orchestrator.cli.failing import failure_count
from orchestrator.cli.format import counted, duration, visible
from orchestrator.cli.printing import as_json

if TYPE_CHECKING:
    from orchestrator.app.looking import ShortVerdict, Status

_BAR = 30


def console() -> Console:
    """Standard output, for tables and lines that hold names and texts of others: nothing in them is markup."""
    shown = Console(highlight=False, markup=False)
    # A pipe has no width; cutting a table to 80 columns there would lose what somebody greps for.
    return shown if shown.is_terminal else Console(highlight=False, markup=False, width=160)


def table(*columns: str) -> Table:
    """A table with these headings; # before one is for numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.startswith("#")
        made.add_column(column.removeprefix("#"), justify="right" if numeric else "left")
    return made


def status(state: Status, json: bool) -> None:
    """One screen."""
    if json:
        as_json(state)
        return
    out = console()
    out.print(f"database {state.database}", soft_wrap=True)
    out.print(_tasks(state))
    for part in (_labels(state), _speaking(state), _runs(state)):
        if part.row_count:
            out.print()
            out.print(part)
    for line in (*_pauses(state), *_comparisons(state), *doubts.of_database(state.doubts), *_reloads(state)):
        out.print(line, soft_wrap=True)
    for failure in state.failures:
        out.print(failure_count(failure))
    if state.failures:
        out.print("what to do about them: orchestrate errors")


def _reloads(state: Status) -> Iterator[str]:
    for again in state.reloads:
        yield (
            f"run {again.run_id}: {again.endpoint} loaded {visible(again.model)} again unasked: "
            f"{counted(again.count, 'time')}, {again.seconds:.1f} s"
        )


def _tasks(state: Status) -> Table:
    names = ("pending", "leased", "done", "failed", "cancelled", "superseded")
    shown = table("debate", "digest", *(f"#{name}" for name in names))
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for count in state.tasks:
        rows.setdefault((count.debate, count.digest), {})[count.status.value] = count.count
    for (debate, digest), counts in rows.items():
        shown.add_row(debate, digest, *(f"{counts.get(name, 0):,}" for name in names))
    return shown


def _labels(state: Status) -> Table:
    shown = table("debate", "digest", "label", "#verdicts", "#mean score", "")
    most = max((label.count for label in state.labels), default=1)
    for label in state.labels:
        bar = "█" * max(1, round(_BAR * label.count / most))
        shown.add_row(label.debate, label.digest, label.label, f"{label.count:,}", f"{label.mean_score:.1f}", bar)
    return shown


def _speaking(state: Status) -> Table:
    shown = table("endpoint", "run", "debate", "role", "model", "#in flight", "since")
    for row in state.speaking:
        shown.add_row(
            row.endpoint,
            str(row.run_id),
            row.debate,
            row.role.value,
            row.model,
            str(row.count),
            f"{row.since:%H:%M:%S} UTC",
        )
    return shown


def _runs(state: Status) -> Table:
    shown = table(
        "run", "status", "started (UTC)", "took", "#turns", "#verdicts", "#failed attempts", "#loads", "reason"
    )
    for run in state.runs:
        # A lost run's end is when it was found, which says nothing of how long it took.
        ended = None if run.status.value == "lost" else run.ended_at
        took = duration((ended - run.started_at).total_seconds()) if ended else "…"
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
        counts = (run.turns, run.verdicts, run.failed_attempts, run.swaps)
        shown.add_row(
            str(run.run_id), run.status.value, started, took, *(f"{count:,}" for count in counts), visible(run.reason)
        )
    return shown


def _pauses(state: Status) -> Iterator[str]:
    """What holds runs up: endpoints that nothing is sent to, since when and why."""
    for run in state.runs:
        if run.status.value == "running" and run.reason:
            yield f"PAUSED, run {run.run_id}: {visible(run.reason)}"


def _comparisons(state: Status) -> Iterator[str]:
    """What was said of the runs above and what came of it; endpoint by endpoint for the newest."""
    for place, run in enumerate(state.runs):
        of_run = [each for each in state.comparisons if each.run_id == run.run_id]
        for number, line in enumerate(compared(of_run, endpoints=place == 0)):
            yield line if number else f"run {run.run_id}: {line}"


def verdicts(rows: Sequence[ShortVerdict], json: bool) -> None:
    """A table of verdicts."""
    if json:
        as_json(rows)
        return
    shown = table("key", "#score", "label", "quotes", "by", "what decided it")
    for row in rows:
        score = "" if row.score is None else str(row.score)
        label = " ".join(
            (row.label or f"({row.error_class or row.status})", *(f"({flag.value})" for flag in row.flags))
        )
        quotes = f"{row.quotes_verified} of {row.quotes_total}"
        why = Text(visible(row.analysis or "").replace("\n", " "), overflow="ellipsis", no_wrap=True)
        shown.add_row(visible(row.key), score, label, quotes, ", ".join(row.backends), why)
    console().print(shown)
