"""Runs from their beginning to their end, and the rescue of what a dead one held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import bindparam, null, or_, select, update

from orchestrator.domain import RunId, RunStatus, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.ports import RunStart
from orchestrator.store import claims
from orchestrator.store.codec import json_text, storable, time_text
from orchestrator.store.engine import Statement, Writer, constant, listed
from orchestrator.store.outcomes import ALONE_AFTER, DEAD, LOST
from orchestrator.store.run_tables import endpoints, runs
from orchestrator.store.tables import attempts, tasks

_LOST_TASKS = (
    tasks.c.status == constant(TaskStatus.LEASED),
    or_(tasks.c.leased_until <= bindparam("at"), tasks.c.run_id.in_(listed("dead"))),
)
# What died in company may have died of another: only a task that was claimed alone is to blame for its worker's death.
_WAS_ALONE = (tasks.c.attempts > constant(ALONE_AFTER), tasks.c.error_class == constant(ErrorClass.LOST))
_BEGIN = Statement(runs.insert(), ["host", "pid", "lock", "max_workers", "status", "reason", "started_at"])
_END = Statement(
    update(runs)
    .where(runs.c.id.in_(listed("ids")), runs.c.ended_at.is_(None))
    .values(status=bindparam("as_status"), reason=bindparam("why"), ended_at=bindparam("at"))
)
_NOTE = Statement(
    update(runs).where(runs.c.id == bindparam("run"), runs.c.ended_at.is_(None)).values(reason=bindparam("why"))
)
_RUNNING = Statement(select(runs.c.id, runs.c.lock).where(runs.c.ended_at.is_(None)).order_by(runs.c.id))
_FREE_SWAPS = Statement(
    update(endpoints).where(endpoints.c.run_id.in_(listed("ids"))).values(run_id=null(), swap_until=null())
)
_KEEP_LOST = Statement(
    attempts.insert().from_select(
        [column.name for column in attempts.c if column.name != "id"],
        select(
            tasks.c.id,
            tasks.c.run_id,
            tasks.c.token,
            tasks.c.next_role,
            tasks.c.next_round,
            tasks.c.next_model,
            tasks.c.attempts,
            tasks.c.endpoint,
            constant(ErrorClass.LOST),
            bindparam("why"),
            constant(""),
            tasks.c.updated_at,
            bindparam("at"),
            constant(""),
            constant(1),
        ).where(*_LOST_TASKS),
    )
)
_GIVE_UP_LOST = Statement(
    update(tasks)
    .where(*_LOST_TASKS, *_WAS_ALONE, tasks.c.attempts >= bindparam("most"))
    .values(
        status=constant(TaskStatus.FAILED),
        error_class=constant(ErrorClass.LOST),
        endpoint=null(),
        leased_until=null(),
        updated_at=bindparam("at"),
        finished_at=bindparam("at"),
    )
)
_PUT_BACK_LOST = Statement(
    update(tasks)
    .where(*_LOST_TASKS)
    .values(
        status=constant(TaskStatus.PENDING),
        error_class=constant(ErrorClass.LOST),
        endpoint=null(),
        leased_until=null(),
        updated_at=bindparam("at"),
    )
)


def begin_run(writer: Writer, start: RunStart) -> RunId:
    """A new run, status running."""
    values = {
        "host": start.host,
        "pid": start.pid,
        "lock": start.lock,
        "max_workers": start.max_workers,
        "status": RunStatus.RUNNING.value,
        "reason": "",
        "started_at": time_text(start.started_at),
    }
    return RunId(writer.run(_BEGIN, values).lastrowid)


def end_run(writer: Writer, run_id: RunId, status: RunStatus, now: datetime, reason: str) -> None:
    """Close a run, give back its tasks uncounted and free the swap it had reserved."""
    claims.release_run(writer, run_id, now)
    _close(writer, [run_id], status, now, reason)


def note_run(writer: Writer, run_id: RunId, reason: str) -> None:
    """Say of a run that goes on what holds it up."""
    writer.run(_NOTE, {"run": run_id, "why": storable(reason)})


def running(writer: Writer) -> Mapping[RunId, str]:
    """Runs not ended yet, each with its lock file's name."""
    return {RunId(row.id): row.lock for row in writer.run(_RUNNING, {})}


def rescue(writer: Writer, now: datetime, max_attempts: int, dead: Iterable[RunId]) -> int:
    """Put back, or fail, tasks whose lease ran out or whose run is dead; how many."""
    gone = list(dead)
    values = {"at": time_text(now), "dead": json_text(gone), "why": LOST, "most": max_attempts}
    moved = 0
    if writer.run(_KEEP_LOST, values).rowcount:
        moved += writer.run(_GIVE_UP_LOST, values).rowcount
        moved += writer.run(_PUT_BACK_LOST, values).rowcount
    if gone:
        _close(writer, gone, RunStatus.LOST, now, DEAD)
    return moved


def _close(writer: Writer, run_ids: list[RunId], status: RunStatus, now: datetime, reason: str) -> None:
    values = {"ids": json_text(run_ids), "as_status": status.value, "at": time_text(now), "why": storable(reason)}
    writer.run(_END, values)
    writer.run(_FREE_SWAPS, values)
