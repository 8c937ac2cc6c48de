"""Retry, cancel and the turns that wait, in memory: the same answers as `moves` and `listing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import Digest, RunId, TaskStatus, Waiting
from orchestrator.errors import ErrorClass
from orchestrator.store.memory_runs import give_back
from orchestrator.store.memory_state import State, TaskRow, backs_off, step_of

Move = Callable[[TaskRow], TaskRow]


def retry(
    state: State, now: datetime, debate: str | None, keys: Sequence[str] | None, error_class: ErrorClass | None
) -> int:
    """Failed and cancelled tasks wait again, their attempts forgotten; how many."""
    wanted = [
        row
        for row in _selected(state, (TaskStatus.FAILED, TaskStatus.CANCELLED), debate, keys)
        if error_class in (None, row.error_class) and not _outdated(state, row)
    ]
    for row in wanted:
        state.put_task(replace(row, status=TaskStatus.PENDING, attempts=0, error_class=None, updated_at=now))
    return len(wanted)


def cancel(state: State, now: datetime, debate: str | None, keys: Sequence[str] | None) -> int:
    """Pending and leased tasks are cancelled; how many."""
    wanted = _selected(state, (TaskStatus.PENDING, TaskStatus.LEASED), debate, keys)
    for row in wanted:
        ended = replace(give_back(row, now), status=TaskStatus.CANCELLED)
        state.put_task(replace(ended, error_class=ErrorClass.CANCELLED, not_before=None))
    return len(wanted)


def waiting(state: State, digests: Sequence[Digest], now: datetime, held_by: RunId | None) -> list[Waiting]:
    """Pending turns by digest, step, priority and home; with `held_by`, of tasks that run held last."""
    groups: dict[tuple[object, ...], list[TaskRow]] = {}
    for lane in state.lanes:
        for row in state.queue(lane):
            if row.digest in digests and held_by in (None, row.run_id):
                groups.setdefault(_group(row), []).append(row)
    return [_waiting(groups[group], now) for group in sorted(groups)]


def leave(state: State, homes: Sequence[str], now: datetime) -> int:
    """Let any endpoint speak what waits for one that is none of these; how many."""
    left = [row for lane in state.lanes if lane[3] not in ("", *homes) for row in state.queue(lane)]
    for row in left:
        state.put_task(replace(row, home="", updated_at=max(row.updated_at, now)))
    return len(left)


def _group(row: TaskRow) -> tuple[object, ...]:
    step = step_of(row)
    return row.digest, step.role, step.round, step.model, row.fresh, row.priority, row.home


def _waiting(rows: Sequence[TaskRow], now: datetime) -> Waiting:
    later = [row for row in rows if backs_off(row, now)]
    return Waiting(
        digest=rows[0].digest,
        step=step_of(rows[0]),
        fresh=rows[0].fresh,
        priority=rows[0].priority,
        home=rows[0].home,
        ready=len(rows) - len(later),
        later=len(later),
        next_at=min((row.not_before for row in later if row.not_before is not None), default=None),
    )


def _selected(
    state: State, statuses: tuple[TaskStatus, ...], debate: str | None, keys: Sequence[str] | None
) -> list[TaskRow]:
    return [
        row
        for row in state.tasks.values()
        if row.status in statuses
        and debate in (None, row.debate)
        and (keys is None or state.jobs[row.job_id].key in keys)
    ]


def _outdated(state: State, row: TaskRow) -> bool:
    job = state.jobs[row.job_id]
    revisions = state.revisions[job.source, job.key]
    return any(state.tasks_of(newer, row.debate) for newer in revisions[job.revision :])
