"""What stands in the task table: turns that wait, and the tasks themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select

from orchestrator.domain import Digest, Role, RunId, Step, TaskStatus, Waiting
from orchestrator.ports import TaskState
from orchestrator.store.codec import json_text, time_of, time_text
from orchestrator.store.engine import Statement, Writer, constant, listed
from orchestrator.store.tables import jobs, tasks, turns, verdicts

_PAGE = 1_000
_PENDING = tasks.c.status == constant(TaskStatus.PENDING)
_LANE = (tasks.c.digest, tasks.c.next_model, tasks.c.fresh)


def _waiting(mine: bool) -> tuple[Statement, Statement]:
    held = [tasks.c.run_id == bindparam("run")] if mine else []
    everything = (
        select(*_LANE, func.count().label("turns"))
        .where(_PENDING, tasks.c.digest.in_(listed("digests")), *held)
        .group_by(*_LANE)
        .order_by(*_LANE)
    )
    later = (
        select(*_LANE, func.count().label("turns"), func.min(tasks.c.not_before).label("next_at"))
        .where(tasks.c.not_before > bindparam("at"), tasks.c.digest.in_(listed("digests")), *held)
        .group_by(*_LANE)
    )
    return Statement(everything), Statement(later)


_WAITING = {mine: _waiting(mine) for mine in (False, True)}
_TASKS = Statement(
    select(
        tasks,
        jobs.c.key,
        verdicts.c.score,
        verdicts.c.label,
        select(func.count()).select_from(turns).where(turns.c.task_id == tasks.c.id).scalar_subquery().label("spoken"),
    )
    .join(jobs, jobs.c.id == tasks.c.job_id)
    .outerjoin(verdicts, verdicts.c.task_id == tasks.c.id)
    .where(tasks.c.id > bindparam("after"))
    .order_by(tasks.c.id)
    .limit(constant(_PAGE))
    .offset(constant(0))
)


def waiting(writer: Writer, digests: Sequence[Digest], now: datetime, held_by: RunId | None) -> list[Waiting]:
    """Pending turns by digest, model and whether the task has begun; with `held_by`, of tasks that run held last."""
    values = {"digests": json_text(list(digests)), "at": time_text(now), "run": held_by}
    all_turns, backing_off = _WAITING[held_by is not None]
    # Two covering indexes instead of a look into each row: 0.1 s at 1,000,000 tasks.
    later = {(row.digest, row.next_model, row.fresh): row for row in writer.run(backing_off, values)}
    found = []
    for row in writer.run(all_turns, values):
        row_later = later.get((row.digest, row.next_model, row.fresh))
        count = row_later.turns if row_later else 0
        found.append(
            Waiting(
                digest=Digest(row.digest),
                model=row.next_model,
                fresh=bool(row.fresh),
                ready=row.turns - count,
                later=count,
                next_at=time_of(row_later.next_at) if row_later else None,
            )
        )
    return found


def page(writer: Writer, after: int) -> list[TaskState]:
    """The next tasks behind a number, in order."""
    return [
        TaskState(
            task_id=row.id,
            key=row.key,
            debate=row.debate,
            digest=Digest(row.digest),
            status=TaskStatus(row.status),
            step=row.next_role and Step(role=Role(row.next_role), round=row.next_round, model=row.next_model),
            attempts=row.attempts,
            token=row.token,
            turns=row.spoken,
            verdict=None if row.score is None else (row.score, row.label),
        )
        for row in writer.run(_TASKS, {"after": after})
    ]
