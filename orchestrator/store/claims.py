"""What a worker does to tasks: claim, renew, release. A claim is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, bindparam, exists, func, null, or_, select, update

from orchestrator.domain import Claim, Role, RunId, Step, TaskId, TaskStatus, Token, Turn
from orchestrator.errors import ErrorClass
from orchestrator.ports import ClaimRequest
from orchestrator.store.codec import json_text, object_of, time_text, word_of
from orchestrator.store.engine import Statement, Writer, constant, listed
from orchestrator.store.outcomes import ALONE_AFTER, CLOCK_SLACK
from orchestrator.store.rows import TURNS, turns_by_task
from orchestrator.store.run_tables import endpoints
from orchestrator.store.tables import jobs, tasks

_LEASED = tasks.c.status == constant(TaskStatus.LEASED)


def _ready(mine: bool, agreed: bool, alone: bool) -> Select[Any]:
    ready, others = tasks.alias("ready"), tasks.alias("others")
    killed_often = ready.c.attempts >= constant(ALONE_AFTER)
    conditions: list[ColumnElement[bool]] = [
        ready.c.status == constant(TaskStatus.PENDING),
        ready.c.digest == bindparam("digest_is"),
        ready.c.next_model == bindparam("model_is"),
        ready.c.fresh == bindparam("fresh_is"),
        ready.c.home == bindparam("home_is"),
        or_(
            ready.c.not_before.is_(None),
            ready.c.not_before <= bindparam("at"),
            ready.c.updated_at > bindparam("ahead"),
        ),
    ]
    if alone:
        leased = others.c.status == constant(TaskStatus.LEASED)
        conditions += [killed_often, ready.c.error_class == constant(ErrorClass.LOST)]
        conditions.append(~exists().where(leased, others.c.run_id == bindparam("run")))
    else:
        conditions.append(or_(~killed_often, ready.c.error_class.is_distinct_from(constant(ErrorClass.LOST))))
    if mine:
        conditions.append(ready.c.run_id == bindparam("run"))
    if agreed:
        conditions.append(
            exists().where(
                endpoints.c.name == bindparam("at_endpoint"),
                endpoints.c.version == bindparam("version_is"),
                endpoints.c.swap_until.is_(None),
            )
        )
    first = select(ready.c.id).where(*conditions).order_by(ready.c.priority.desc(), ready.c.id)
    return first.limit(bindparam("at_most")).offset(constant(0))


def _claim(mine: bool, agreed: bool, alone: bool) -> Statement:
    return Statement(
        update(tasks)
        .where(tasks.c.id.in_(_ready(mine, agreed, alone)))
        .values(
            status=constant(TaskStatus.LEASED),
            token=tasks.c.token + constant(1),
            attempts=tasks.c.attempts + constant(1),
            run_id=bindparam("run"),
            endpoint=bindparam("at_endpoint"),
            leased_until=bindparam("until"),
            not_before=null(),
            updated_at=bindparam("at"),
        )
        .returning(
            tasks.c.id,
            tasks.c.token,
            tasks.c.job_id,
            tasks.c.debate,
            tasks.c.next_role,
            tasks.c.next_round,
            tasks.c.attempts,
            tasks.c.priority,
        )
    )


def _end_of_lease(**also: Any) -> Update:
    return update(tasks).values(
        status=constant(TaskStatus.PENDING), endpoint=null(), leased_until=null(), updated_at=bindparam("at"), **also
    )


_KINDS = tuple(product((False, True), repeat=2))
CLAIMS = {(mine, agreed): _claim(mine, agreed, alone=False) for mine, agreed in _KINDS}
_CLAIMS_ALONE = {(mine, agreed): _claim(mine, agreed, alone=True) for mine, agreed in _KINDS}
_PAYLOADS = Statement(select(jobs.c.id, jobs.c.key, jobs.c.payload).where(jobs.c.id.in_(listed("ids"))))
_RENEW = Statement(
    update(tasks).where(_LEASED, tasks.c.run_id == bindparam("run")).values(leased_until=bindparam("until"))
)
_RENEW_SWAP = Statement(
    update(endpoints).where(endpoints.c.run_id == bindparam("run")).values(swap_until=bindparam("until"))
)
_UNCOUNTED = func.max(tasks.c.attempts - constant(1), constant(0))
_RELEASE = Statement(
    _end_of_lease(attempts=_UNCOUNTED).where(
        tasks.c.id == bindparam("task"), tasks.c.token == bindparam("under"), _LEASED
    )
)
_RELEASE_RUN = Statement(_end_of_lease(attempts=_UNCOUNTED).where(_LEASED, tasks.c.run_id == bindparam("run")))

LEAVE = Statement(
    update(tasks)
    .where(
        tasks.c.status == constant(TaskStatus.PENDING),
        tasks.c.home > constant(""),
        tasks.c.home.not_in(listed("homes")),
    )
    # A time ahead of the clock stays: it says that the end of the wait is ahead as well.
    .values(home=constant(""), updated_at=func.max(tasks.c.updated_at, bindparam("at")))
)


def claim(writer: Writer, request: ClaimRequest) -> list[Claim]:
    """Take tasks, highest priority first, then oldest; one that may kill its worker last and alone."""
    values = {
        "digest_is": request.digest,
        "model_is": request.model,
        "fresh_is": int(request.fresh),
        "home_is": request.home,
        "at": time_text(request.now),
        "ahead": time_text(request.now + CLOCK_SLACK),
        "run": request.run_id,
        "at_endpoint": request.endpoint,
        "version_is": request.resident,
        "at_most": request.limit,
        "until": time_text(request.leased_until),
    }
    kind = request.mine, request.resident is not None
    taken = writer.run(CLAIMS[kind], values).all()
    if not taken and request.limit:
        taken = writer.run(_CLAIMS_ALONE[kind], values | {"at_most": 1}).all()
    if not taken:
        return []
    job_ids = {row.job_id for row in taken}
    payloads = {row.id: row for row in writer.run(_PAYLOADS, {"ids": json_text(list(job_ids))})}
    spoken = {} if request.fresh else spoken_turns(writer, [row.id for row in taken])
    return [
        Claim(
            task_id=row.id,
            token=row.token,
            key=payloads[row.job_id].key,
            payload=object_of(payloads[row.job_id].payload),
            debate=row.debate,
            digest=request.digest,
            step=Step(role=word_of(Role, row.next_role), round=row.next_round, model=request.model),
            attempt=row.attempts,
            turns=spoken.get(row.id, ()),
        )
        for row in sorted(taken, key=lambda row: (-row.priority, row.id))
    ]


def spoken_turns(writer: Writer, task_ids: Sequence[TaskId]) -> dict[TaskId, tuple[Turn, ...]]:
    """The turns of each task that has any, in order of speaking."""
    return turns_by_task(writer.run(TURNS, {"ids": json_text(task_ids)}).mappings())


def renew(writer: Writer, run_id: RunId, leased_until: datetime) -> int:
    """Extend every lease of a run, and its reservation of a swap; how many leases."""
    values = {"run": run_id, "until": time_text(leased_until)}
    writer.run(_RENEW_SWAP, values)
    return writer.run(_RENEW, values).rowcount


def release(writer: Writer, task_id: TaskId, token: Token, now: datetime) -> bool:
    """Give a claim back unspoken."""
    return writer.run(_RELEASE, {"task": task_id, "under": token, "at": time_text(now)}).rowcount == 1


def release_run(writer: Writer, run_id: RunId, now: datetime) -> int:
    """Give back all that a run still holds; how many."""
    return writer.run(_RELEASE_RUN, {"run": run_id, "at": time_text(now)}).rowcount


def leave(writer: Writer, homes: Sequence[str], now: datetime) -> int:
    """Let any endpoint speak what waits for one that is none of these; how many."""
    return writer.run(LEAVE, {"homes": json_text(list(homes)), "at": time_text(now)}).rowcount
