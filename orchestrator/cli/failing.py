"""What commands say about failures: how many of each class and text, an example, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.cli.doubts import refused
from orchestrator.cli.format import counted, visible
from orchestrator.cli.printing import as_json

if TYPE_CHECKING:
    from orchestrator.app.failing import Errors, FailureGroup
    from orchestrator.errors import Guard
    from orchestrator.scheduler.tally import Tally
    from orchestrator.store.reading_rows import FailureCount

_MOST_TEXTS = 5  # of each class; --json has all of them
_LONGEST = 200  # characters of an example


def errors(found: Errors, json: bool) -> None:
    """Failed attempts, by class and text, and the newest of them."""
    if json:
        as_json(found)
        return
    if not found.newest:
        print("no failed attempts")
        return
    for count in found.counts:
        print(failure_count(count))
        groups = [each for each in found.groups if (each.debate, each.error_class) == (count.debate, count.error_class)]
        for line in (*refused(_guards(groups)), *_texts(groups)):
            print(f"  {line}")
        about = found.advice[count.error_class]
        print(f"  what happens: {about.happens}")
        print(f"  what to do:   {about.mend}\n")
    for row in found.newest:
        print(
            f"{row.at:%Y-%m-%d %H:%M:%S} {visible(row.key)} ({row.status.value}) "
            f"{row.role.value} {row.round}, attempt {row.attempt}, {row.endpoint}"
        )
        print(f"    {row.error_class.value}{f' ({row.guard.value})' if row.guard else ''}: {visible(row.error)}")
    print("\nput failed tasks back: orchestrate retry [--class CLASS] [--key KEY]")


def failure_count(count: FailureCount) -> str:
    """How often one class of error happened in a debate, in one line."""
    attempts, given_up = counted(count.attempts, "failed attempt"), counted(count.tasks, "task")
    return f"{count.debate}: {count.error_class.value}: {attempts}, {given_up} given up"


def _guards(groups: list[FailureGroup]) -> Counter[Guard]:
    found: Counter[Guard] = Counter()
    for group in groups:
        if group.guard is not None:
            found[group.guard] += group.attempts
    return found


def _texts(groups: list[FailureGroup]) -> Iterator[str]:
    for group in groups[:_MOST_TEXTS]:
        yield f"{group.attempts:,} × {_short(group.text)} (the last one: {visible(group.key)})"
    if rest := groups[_MOST_TEXTS:]:
        yield f"{sum(group.attempts for group in rest):,} × {counted(len(rest), 'other text')}"


def of_run(tally: Tally) -> Iterator[str]:
    """What failed in a run: each class with its counts, one example and, where tasks were given up, what to do."""
    from orchestrator.scheduler.retry import ANSWERS

    for kind, attempts in tally.failures.most_common():
        given_up = tally.given_up[kind]
        also = f", {counted(given_up, 'task')} given up" if given_up else ""
        yield f"{kind.value}: {counted(attempts, 'failed attempt')}{also}, as {_short(tally.examples[kind])}"
        if given_up:
            yield f"  what to do: {ANSWERS[kind].mend}"
    for endpoint, times in tally.squeezed.items():
        limit = counted(tally.limits.get(endpoint, 1), "turn")
        yield f"{endpoint} had no room {counted(times, 'time')}: fewer turns were sent at once, in the end {limit}"


def _short(text: str) -> str:
    shown = visible(" ".join(text.split()))
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
