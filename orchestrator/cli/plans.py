"""What a plan looks like, how a probe shows itself, and how a run kept to what was said of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from orchestrator.cli.format import by_count, clock_time, counted, duration, interval, visible
from orchestrator.cli.printing import as_json
from orchestrator.cli.records import plain
from orchestrator.cli.tables import console, table

if TYPE_CHECKING:
    from orchestrator.app.planning import Plan, PlannedEndpoint
    from orchestrator.app.probing import Probed
    from orchestrator.app.workplace import Workplace

_PLAIN_S = 2.0


def show(place: Workplace, debate: str | None, before: datetime | None, *, probe: bool, json: bool) -> None:
    """What a run would do if it were begun now; with `probe` after a few records were spoken for it."""
    from orchestrator.app import planning

    probed = _probed(place, debate) if probe else None
    now = datetime.now(UTC)
    plan = planning.plan(place, debate, None if before is None else max(0.0, (before - now).total_seconds()))
    if json:
        as_json(_record(plan, now, before, probed))
    else:
        _planned(plan, now, before, probed)


def _probed(place: Workplace, debate: str | None) -> Probed:
    # It calls models, and what is imported for that takes most of a second.
    from orchestrator.app import probing

    with _probing_bar() as progress:
        return probing.probe(place, debate, progress)


@contextmanager
def _probing_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while a probe speaks; plain lines where there is no terminal."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield _plain_lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), "turns", TimeElapsedColumn())
    with Progress("probing", *columns, console=shown, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda spoken, expected: bar.update(task, completed=spoken, total=expected)


def _plain_lines() -> Callable[[int, int], None]:
    started, said = time.monotonic(), 0.0
    print("probing: the first turns are under way", file=sys.stderr, flush=True)

    def line(spoken: int, expected: int) -> None:
        nonlocal said
        passed = time.monotonic() - started
        if spoken == expected or passed - said >= _PLAIN_S:
            said = passed
            print(
                f"probing: {spoken} of {counted(expected, 'turn')} in {duration(passed)}", file=sys.stderr, flush=True
            )

    return line


def _record(plan: Plan, now: datetime, before: datetime | None, probed: Probed | None) -> dict[str, Any]:
    ends_at = None if plan.seconds is None else now + timedelta(seconds=plan.seconds)
    return {
        **plain(plan),
        "begun_at": plain(now),
        "ends_at": plain(ends_at),
        "before": plain(before),
        "probe": plain(probed),
    }


def _planned(plan: Plan, now: datetime, before: datetime | None, probed: Probed | None) -> None:
    out = console()
    if probed:
        failed = f"; {counted(probed.failed_attempts, 'attempt')} failed" if probed.failed_attempts else ""
        spoken = f"{counted(probed.records, 'record')}, {counted(probed.turns, 'turn')} in {duration(probed.seconds)}"
        out.print(f"probe: {spoken}{failed}")
    out.print(f"{counted(plan.tasks, 'task')} {by_count(plan.tasks, 'is', 'are')} pending")
    if plan.superseded:
        out.print(
            f"of an older version of their debate: {plan.superseded:,} of them; "
            "a run replaces them by tasks of the present one"
        )
    if plan.tasks:
        out.print(_roles(plan))
        for endpoint in plan.endpoints:
            out.print(f"\nendpoint {endpoint.endpoint} ({endpoint.backend}): {', '.join(endpoint.models)}")
            out.print(_grid(_endpoint(endpoint)))
        out.print("\nthe whole run")
        out.print(_grid(_whole(plan, now, before)))
        stored = "of the probe nothing was stored but what its turns and loads took"
        out.print(stored if probed else "no model was called, and nothing was stored")


def _roles(plan: Plan) -> Table:
    shown = table("debate", "role", "model", "endpoint", "#turns", "#prompt tokens", "#reply tokens", "rests on")
    for role in plan.roles:
        counts = (role.turns, role.prompt_tokens, role.reply_tokens)
        names = (role.debate, role.role.value, role.model, role.endpoint)
        shown.add_row(*names, *(f"{count:,}" for count in counts), role.rests_on)
    return shown


def _grid(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(f"  {name}", visible(value))
    return grid


def _endpoint(each: PlannedEndpoint) -> list[tuple[str, str]]:
    silent = [("server", f"does not answer: {_without(each)}; orchestrate doctor tells more")]
    if not each.answers and not each.turns:
        return silent
    rows = [
        *([] if each.answers else silent),
        ("order", _order(each)),
        ("because", each.why),
        ("holds", "all of them" if each.holds is None else counted(each.holds, "model")),
        ("workers", "found while running" if each.max_workers is None else f"{each.max_workers:,}"),
        ("turns", f"{each.turns:,}"),
        ("loads", f"{each.loads:,}" if each.exact else f"about {each.loads:,}"),
    ]
    if each.seconds is None:
        return [*rows, ("time", f"unknown: {each.rests_on}; run orchestrate plan --probe")]
    rows.append(("time", interval(each.seconds, each.low, each.high)))
    if each.first_verdict is not None:
        rows.append(("first verdict", f"after {duration(each.first_verdict)}"))
    return [*rows, ("rests on", each.rests_on)]


def _order(each: PlannedEndpoint) -> str:
    if each.order == "waves":
        return f"waves of {each.wave_size:,}"
    return f"depth first, {each.wave_size:,} at a time" if each.wave_size else "depth first"


def _without(each: PlannedEndpoint) -> str:
    return "the figures are as if it did" if each.turns else "the others take its turns"


def _whole(plan: Plan, now: datetime, before: datetime | None) -> list[tuple[str, str]]:
    rows = []
    if plan.seconds is None:
        unknown = ", ".join(each.endpoint for each in plan.endpoints if each.turns and each.seconds is None)
        rows.append(
            ("time", f"unknown, as that of {unknown}" if unknown else "unknown: no endpoint has a turn to speak")
        )
    else:
        ends = clock_time(now + timedelta(seconds=plan.seconds), now)
        rows.append(("time", interval(plan.seconds, plan.low, plan.high)))
        rows.append(("end", f"{ends}, if begun now"))
    if plan.first_verdict is not None:
        rows.append(("first verdict", f"after {duration(plan.first_verdict)}"))
    if before is not None:
        rows.append(("verdicts", _fit(plan, clock_time(before, now))))
    return rows


def _fit(plan: Plan, at: str) -> str:
    if plan.verdicts is None or plan.seconds is None:
        return f"unknown how many fit before {at}, as long as the time is"
    return f"about {plan.verdicts:,} of {counted(plan.tasks, 'verdict')} fit before {at}"
