"""Tables for people: the state of things, a plan, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.format import duration, visible
from orchestrator.cli.printing import as_json

if TYPE_CHECKING:
    from orchestrator.app.looking import ShortVerdict, Status
    from orchestrator.app.planning import Plan, PlannedEndpoint

_BAR = 30


def _console() -> Console:
    # A pipe has no width; cutting a table to 80 columns there would lose what somebody greps for.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.startswith("#")
        table.add_column(column.removeprefix("#"), justify="right" if numeric else "left")
    return table


def status(state: Status, json: bool) -> None:
    """One screen."""
    if json:
        as_json(state)
        return
    console = _console()
    console.print(f"database {state.database}", soft_wrap=True)
    console.print(_tasks(state))
    for part in (_labels(state), _speaking(state), _runs(state)):
        if part.row_count:
            console.print()
            console.print(part)
    for failure in state.failures:
        console.print(
            f"{failure.debate}: {failure.error_class.value}: "
            f"{failure.attempts} failed attempts, {failure.tasks} tasks given up"
        )
    if state.failures:
        console.print("see them: orchestrate errors")


def _tasks(state: Status) -> Table:
    names = ("pending", "leased", "done", "failed", "cancelled", "superseded")
    table = _table("debate", "digest", *(f"#{name}" for name in names))
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for count in state.tasks:
        rows.setdefault((count.debate, count.digest), {})[count.status.value] = count.count
    for (debate, digest), counts in rows.items():
        table.add_row(debate, digest, *(f"{counts.get(name, 0):,}" for name in names))
    return table


def _labels(state: Status) -> Table:
    table = _table("debate", "digest", "label", "#verdicts", "#mean score", "")
    most = max((label.count for label in state.labels), default=1)
    for label in state.labels:
        bar = "█" * max(1, round(_BAR * label.count / most))
        table.add_row(label.debate, label.digest, label.label, f"{label.count:,}", f"{label.mean_score:.1f}", bar)
    return table


def _speaking(state: Status) -> Table:
    table = _table("endpoint", "run", "debate", "role", "model", "#in flight", "since")
    for row in state.speaking:
        table.add_row(
            row.endpoint,
            str(row.run_id),
            row.debate,
            row.role.value,
            row.model,
            str(row.count),
            f"{row.since:%H:%M:%S} UTC",
        )
    return table


def _runs(state: Status) -> Table:
    table = _table(
        "run", "status", "started (UTC)", "took", "#turns", "#verdicts", "#failed attempts", "#swaps", "reason"
    )
    for run in state.runs:
        took = duration((run.ended_at - run.started_at).total_seconds()) if run.ended_at else "…"
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
        counts = (run.turns, run.verdicts, run.failed_attempts, run.swaps)
        table.add_row(
            str(run.run_id), run.status.value, started, took, *(f"{count:,}" for count in counts), visible(run.reason)
        )
    return table


def planned(plan: Plan, json: bool) -> None:
    """What a run would do."""
    if json:
        as_json(plan)
        return
    console = _console()
    console.print(f"{plan.tasks:,} tasks are pending")
    if plan.superseded:
        console.print(
            f"{plan.superseded:,} of them are of an older version of their debate; "
            "a run replaces them by tasks of the present one"
        )
    if plan.tasks:
        console.print(_planned_roles(plan))
        console.print()
        console.print(_planned_endpoints(plan))
        console.print("no model was called, and nothing was stored")


def _planned_roles(plan: Plan) -> Table:
    table = _table("debate", "role", "model", "endpoint", "#turns", "#prompt tokens", "#reply tokens", "rests on")
    for role in plan.roles:
        counts = (role.turns, role.prompt_tokens, role.reply_tokens)
        names = (role.debate, role.role.value, role.model, role.endpoint)
        table.add_row(*names, *(f"{count:,}" for count in counts), role.rests_on)
    return table


def _planned_endpoints(plan: Plan) -> Table:
    table = _table("endpoint", "backend", "models", "holds", "#workers", "#turns", "#loads", "time")
    for endpoint in plan.endpoints:
        holds = "all" if endpoint.holds is None else str(endpoint.holds)
        counts = (endpoint.max_workers, endpoint.turns, endpoint.loads)
        names = (endpoint.endpoint, endpoint.backend, ", ".join(endpoint.models), holds)
        table.add_row(*names, *(f"{count:,}" for count in counts), _time(endpoint))
    return table


def _time(endpoint: PlannedEndpoint) -> str:
    if endpoint.seconds is None:
        return "unknown: run a few first (orchestrate process-pending --max-tasks 5)"
    return f"about {duration(endpoint.seconds)}, from earlier turns, loads not counted"


def verdicts(rows: Sequence[ShortVerdict], json: bool) -> None:
    """A table of verdicts."""
    if json:
        as_json(rows)
        return
    table = _table("key", "#score", "label", "quotes", "by", "what decided it")
    for row in rows:
        score = "" if row.score is None else str(row.score)
        label = row.label or f"({row.error_class or row.status})"
        quotes = f"{row.quotes_verified} of {row.quotes_total}"
        why = Text(visible(row.analysis or "").replace("\n", " "), overflow="ellipsis", no_wrap=True)
        table.add_row(visible(row.key), score, label, quotes, ", ".join(row.backends), why)
    _console().print(table)
