"""What stands in the task table: turns that wait, and the tasks themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, select

from orchestrator.domain import Digest, Role, RunId, Step, TaskStatus, Waiting
from orchestrator.ports import TaskState
from orchestrator.store.codec import json_text, time_of, time_text, word_of
from orchestrator.store.engine import Statement, Writer, constant, listed
from orchestrator.store.outcomes import CLOCK_SLACK
from orchestrator.store.tables import jobs, tasks, turns, verdicts

_PAGE = 1_000
_PENDING = tasks.c.status == constant(TaskStatus.PENDING)
_STEP = (
    tasks.c.digest,
    tasks.c.next_role,
    tasks.c.next_round,
    tasks.c.next_model,
    tasks.c.fresh,
    tasks.c.priority,
    tasks.c.home,
)
_COUNT = func.count().label("turns")
_OF_DIGESTS = tasks.c.digest.in_(listed("digests"))


def _debates() -> Select[Any]:
    """The names of the debates, each found by one look into an index that begins with them."""
    first = select(func.min(tasks.c.debate).label("debate")).cte("debates", recursive=True)
    following = select(func.min(tasks.c.debate)).where(tasks.c.debate > first.c.debate).scalar_subquery()
    found = first.union_all(select(following).where(first.c.debate.is_not(None)))
    return select(found.c.debate)


# Naming the debates, and grouping by them first, makes this a walk of `tasks_status`: no row is read, nothing sorted.
_ALL = (
    select(*_STEP, _COUNT).where(_PENDING, _OF_DIGESTS, tasks.c.debate.in_(_debates())).group_by(tasks.c.debate, *_STEP)
)
_MINE = select(*_STEP, _COUNT).where(_PENDING, _OF_DIGESTS, tasks.c.run_id == bindparam("run")).group_by(*_STEP)
_LATER = (
    select(*_STEP, _COUNT, func.min(tasks.c.not_before).label("next_at"))
    .where(tasks.c.not_before > bindparam("at"), tasks.c.updated_at <= bindparam("ahead"), _OF_DIGESTS)
    .group_by(*_STEP)
)
WAITING = {
    False: (Statement(_ALL), Statement(_LATER)),
    True: (Statement(_MINE), Statement(_LATER.where(tasks.c.run_id == bindparam("run")))),
}
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
    """Pending turns by digest, step, priority and home; with `held_by`, of tasks that run held last."""
    values = {"digests": json_text(list(digests)), "at": time_text(now), "run": held_by}
    values["ahead"] = time_text(now + CLOCK_SLACK)
    everything, backing_off = WAITING[held_by is not None]
    later = {_group(row): row for row in writer.run(backing_off, values)}
    turns: dict[tuple[Any, ...], int] = {}
    for row in writer.run(everything, values):
        turns[_group(row)] = turns.get(_group(row), 0) + row.turns
    return [_waiting(group, turns[group], later.get(group)) for group in sorted(turns)]


def _group(row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row)[: len(_STEP)]


def _waiting(group: tuple[Any, ...], turns: int, later: Row[Any] | None) -> Waiting:
    digest, role, round_, model, fresh, priority, home = group
    count = later.turns if later else 0
    return Waiting(
        digest=Digest(digest),
        step=Step(role=word_of(Role, role), round=round_, model=model),
        fresh=bool(fresh),
        priority=priority,
        home=home,
        ready=turns - count,
        later=count,
        next_at=time_of(later.next_at) if later else None,
    )


def _step(row: Row[Any]) -> Step:
    return Step(role=word_of(Role, row.next_role), round=row.next_round, model=row.next_model)


def page(writer: Writer, after: int) -> list[TaskState]:
    """The next tasks behind a number, in order."""
    return [
        TaskState(
            task_id=row.id,
            key=row.key,
            debate=row.debate,
            digest=Digest(row.digest),
            status=word_of(TaskStatus, row.status),
            step=row.next_role and _step(row),
            attempts=row.attempts,
            token=row.token,
            turns=row.spoken,
            verdict=None if row.score is None else (row.score, row.label),
        )
        for row in writer.run(_TASKS, {"after": after})
    ]
