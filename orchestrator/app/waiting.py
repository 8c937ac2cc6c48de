"""The turns that a run would find waiting, those included that a dead run still holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.cast import Debate
from orchestrator.debate.order import steps
from orchestrator.domain import Waiting
from orchestrator.errors import StoreError
from orchestrator.scheduler.liveness import dead
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import StepCount


def waiting_turns(
    reading: Reading, database: Path, debates: Sequence[Debate], max_tasks: int | None = None
) -> tuple[list[Waiting], int]:
    """Turns as a run would find them, and how many tasks begin again under the present digest.

    Raises:
        StoreError: tasks wait for a step that their debate does not have: the database was altered.
    """
    named = {debate.name: debate for debate in debates}
    held = reading.held_steps()
    gone = set(dead(database, {each.run_id: each.lock for each in held}))
    counts = [*reading.waiting_steps(), *(each.steps for each in held if each.run_id in gone)]
    counts = [each for each in counts if each.debate in named]
    for each in counts:
        _refuse_strange(each, named[each.debate], database)
    old = sum(each.count for each in counts if each.digest != named[each.debate].digest)
    return _limited([_waiting(each, named[each.debate]) for each in counts], max_tasks), old


def _refuse_strange(each: StepCount, debate: Debate, database: Path) -> None:
    if each.digest == debate.digest and each.step not in steps(debate):
        step = f"{each.step.role.value} {each.step.round} ({each.step.model})"
        raise StoreError(
            f"{database} is damaged, for tasks of {debate.name} wait for {step}, which that debate does not have: "
            "restore a copy; `orchestrate db verify` says which tasks"
        )


def _waiting(each: StepCount, debate: Debate) -> Waiting:
    old = each.digest != debate.digest
    return Waiting(
        digest=debate.digest,
        step=debate.first if old else each.step,
        fresh=old or each.fresh,
        priority=each.priority,
        home="" if old else each.home,
        ready=each.count,
        later=0,
        next_at=None,
    )


def _limited(waiting: Sequence[Waiting], max_tasks: int | None) -> list[Waiting]:
    if max_tasks is None:
        return list(waiting)
    taken, left = [], max_tasks
    for each in sorted(waiting, key=lambda each: (each.fresh, -each.priority)):
        if count := min(left, each.ready):
            taken.append(replace(each, ready=count, later=0))
            left -= count
    return taken
