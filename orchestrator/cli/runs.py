"""Runs and dry runs, and what they say at the end."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli import debates, failing
from orchestrator.cli.comparing import compared
from orchestrator.cli.doubts import constant, of_run
from orchestrator.cli.format import by_count, counted, visible
from orchestrator.cli.progress import Work, shown
from orchestrator.cli.records import plain

if TYPE_CHECKING:
    from orchestrator.app.running import RunRequest
    from orchestrator.app.workplace import Workplace
    from orchestrator.scheduler.run import RunEnd
    from orchestrator.scheduler.tally import Tally


def process(place: Workplace, request: RunRequest, json: bool) -> int:
    """Run, with a live display on a terminal and plain lines elsewhere; the exit code."""
    from orchestrator.app import looking, planning, running

    work = Work(tasks=running.left(place, request), turns=planning.turns_left(place, request.debate))
    with shown(work) as display:
        end = running.process_pending(place, request, display)
    remaining = running.left(place, request)
    comparisons = looking.comparisons(place, end.run_id, end.status)
    judges = looking.constant_judges(place, end.run_id)
    if json:
        found = {"comparisons": plain(comparisons), "constant_judges": plain(judges)}
        print(json_.dumps({**_record(end, remaining), **found}))
    else:
        _say_end(end, remaining, [*compared(comparisons), *constant(judges)])
    return exit_code(end)


def dry(place: Workplace, request: RunRequest, limit: int, json: bool) -> int:
    """Show debates turn by turn and store nothing; the exit code."""
    from orchestrator.app import running

    watch = debates.json_turn if json else debates.spoken_turn
    end = running.dry_run(place, request, limit, watch)
    if not json:
        spoken = f"{counted(end.tally.turns, 'turn')}, {counted(end.tally.done, 'verdict')}"
        print(f"\ndry run: {spoken}; nothing was stored")
        for note in end.tally.notes:
            print(f"  {visible(note)}")
    return exit_code(end)


def exit_code(end: RunEnd) -> int:
    """0 done, 1 stopped by an error or nothing but failures, 130 interrupted."""
    if end.status.value == "done":
        return int(end.tally.failed > 0 and end.tally.done == 0)
    return 130 if end.status.value == "interrupted" else 1


def _say_end(end: RunEnd, remaining: int, found: Sequence[str]) -> None:
    tally = end.tally
    labels = ", ".join(f"{label} {count}" for label, count in tally.labels.most_common())
    print(
        f"run {end.run_id}: {tally.done} done{f' ({labels})' if labels else ''}, {tally.failed} failed, "
        f"{counted(tally.turns, 'turn')}, {counted(tally.swaps, 'load')}"
    )
    for line in (*found, *_remarks(tally)):
        print(f"  {line}")
    if end.error is not None:
        print(f"orchestrate: stopped: {end.error}", file=sys.stderr)
    if remaining:
        print(f"  {counted(remaining, 'task')} left; the same command goes on: orchestrate process-pending")
    if tally.failed:
        print("  see what failed: orchestrate errors")


def _remarks(tally: Tally) -> Iterator[str]:
    yield from map(visible, tally.warnings)
    if tally.superseded:
        what = by_count(tally.superseded, "was of an older version; it runs", "were of an older version; they run")
        yield f"{counted(tally.superseded, 'pending task')} {what} under the present one of the debate now"
    if tally.rescued:
        yield f"{counted(tally.rescued, 'task')} of a run that had died or stood still put back"
    if tally.lost:
        task = by_count(tally.lost, "its task", "their tasks")
        yield f"{counted(tally.lost, 'turn')} came too late to be kept: {task} had been put back meanwhile"
    if tally.reloads:
        models = ", ".join(f"{visible(model)} {count}" for model, count in tally.reloads.most_common())
        yield (
            f"unexpected loads of a model that was loaded: {models}, {tally.reload_s:.1f} s; "
            "does another program use that server?"
        )
    yield from failing.of_run(tally)
    if tally.quotes:
        yield f"quotes found in their record: {tally.quotes_verified} of {tally.quotes}"
    yield from of_run(tally.flags, tally.marks, tally.guards)


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
        "reloads": dict(tally.reloads),
        "warnings": tally.warnings,
        "rescued": tally.rescued,
        "superseded": tally.superseded,
        "prompt_tokens": tally.prompt_tokens,
        "reply_tokens": tally.reply_tokens,
        "quotes": tally.quotes,
        "quotes_verified": tally.quotes_verified,
        "labels": dict(tally.labels),
        "flags": dict(tally.flags),
        "marks": dict(tally.marks),
        "failed_attempts": {kind.value: count for kind, count in tally.failures.items()},
        "refused_replies": dict(tally.guards),
        "squeezed": dict(tally.squeezed),
        "given_up": {kind.value: count for kind, count in tally.given_up.items()},
        "examples": {kind.value: example for kind, example in tally.examples.items()},
    }
