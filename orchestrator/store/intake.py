"""Jobs coming in, and tasks replaced by those of a newer digest: a few statements a batch, not one a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, null, select, update
from sqlalchemy.dialects.sqlite import insert

from orchestrator.domain import Digest, JobDraft, Step, Submission, Submitted, TaskStatus
from orchestrator.store.codec import Record, json_text, record_of, time_text
from orchestrator.store.engine import Statement, Writer, constant, listed, unindexed
from orchestrator.store.outcomes import GETS_TASK, Outcome, outcome, submitted, without_repeats
from orchestrator.store.tables import jobs, tasks

_NEWER, _OLDER = jobs.alias("newer"), jobs.alias("older")
_NEW = insert(tasks).excluded
_TASK_COLUMNS = [
    "job_id",
    "debate",
    "digest",
    "status",
    "next_role",
    "next_round",
    "next_model",
    "fresh",
    "priority",
    "attempts",
    "token",
    "created_at",
    "updated_at",
]

_KNOWN = Statement(
    select(jobs.c.key, jobs.c.id, jobs.c.revision, jobs.c.payload_hash)
    .where(jobs.c.key.in_(listed("keys")), jobs.c.source == bindparam("from_source"))
    .order_by(jobs.c.key, jobs.c.revision)
)
_STANDING = Statement(
    select(tasks.c.job_id, tasks.c.digest, tasks.c.status).where(
        tasks.c.job_id.in_(listed("ids")), unindexed(tasks.c.debate) == bindparam("in_debate")
    )
)
_LAST_JOB = Statement(select(func.coalesce(func.max(jobs.c.id), constant(0))))
_ADD_JOB = Statement(jobs.insert(), [column.name for column in jobs.c])
# A digest that comes back finds its superseded tasks and wakes them, with the turns they had.
_REVIVED: Mapping[str, Any] = {
    "status": constant(TaskStatus.PENDING),
    "updated_at": _NEW.updated_at,
    "finished_at": null(),
}
_ADD_TASK = Statement(
    insert(tasks)
    .values({name: bindparam(name) for name in _TASK_COLUMNS})
    .on_conflict_do_update(
        index_elements=[tasks.c.job_id, tasks.c.digest],
        set_=_REVIVED,
        where=tasks.c.status == constant(TaskStatus.SUPERSEDED),
    )
)
_REPLACE_REVISIONS = Statement(
    update(tasks)
    .where(
        tasks.c.job_id.in_(
            select(_OLDER.c.id)
            .join(
                _NEWER,
                (_OLDER.c.key == _NEWER.c.key)
                & (_OLDER.c.source == _NEWER.c.source)
                & (_OLDER.c.revision < _NEWER.c.revision),
            )
            .where(_NEWER.c.id.in_(listed("ids")))
        ),
        unindexed(tasks.c.debate) == bindparam("in_debate"),
        tasks.c.status.in_([constant(TaskStatus.PENDING), constant(TaskStatus.LEASED)]),
    )
    .values(
        status=constant(TaskStatus.SUPERSEDED),
        endpoint=null(),
        leased_until=null(),
        not_before=null(),
        updated_at=bindparam("at"),
        finished_at=bindparam("at"),
    )
)
_OUTDATED = (
    tasks.c.debate == bindparam("in_debate"),
    tasks.c.status == constant(TaskStatus.PENDING),
    tasks.c.digest != bindparam("digest_is"),
)
_REPLACEMENTS = Statement(
    insert(tasks)
    .from_select(
        _TASK_COLUMNS,
        select(
            tasks.c.job_id,
            tasks.c.debate,
            bindparam("digest_is"),
            constant(TaskStatus.PENDING),
            bindparam("first_role"),
            bindparam("first_round"),
            bindparam("first_model"),
            constant(1),
            tasks.c.priority,
            constant(0),
            constant(0),
            bindparam("at"),
            bindparam("at"),
        )
        .where(*_OUTDATED)
        .order_by(tasks.c.id),
    )
    .on_conflict_do_update(
        index_elements=[tasks.c.job_id, tasks.c.digest],
        set_=_REVIVED,
        where=tasks.c.status == constant(TaskStatus.SUPERSEDED),
    )
)
_SUPERSEDE = Statement(
    update(tasks)
    .where(*_OUTDATED)
    .values(
        status=constant(TaskStatus.SUPERSEDED),
        not_before=null(),
        updated_at=bindparam("at"),
        finished_at=bindparam("at"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The newest revision of a job."""

    job_id: int
    revision: int
    payload_hash: str


def submit(writer: Writer, submission: Submission, drafts: Sequence[JobDraft], now: datetime) -> Submitted:
    """Add what is new. Raises StoreError, naming the key, for a record that JSON or UTF-8 cannot hold."""
    counts: Counter[Outcome] = Counter()
    changed: list[str] = []
    for group in without_repeats(map(record_of, drafts)):
        outcomes = _submit_group(writer, submission, group, time_text(now))
        counts.update(outcomes)
        changed += [record.key for record, what in zip(group, outcomes, strict=True) if what is Outcome.CHANGED]
    return submitted(counts, changed)


def _submit_group(writer: Writer, submission: Submission, group: Sequence[Record], at: str) -> list[Outcome]:
    known = _known_jobs(writer, submission.source, group)
    standing = _standing(writer, submission.debate, known)
    next_job = writer.run(_LAST_JOB, {}).scalar_one() + 1
    new_jobs: list[dict[str, Any]] = []
    new_tasks: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for record in group:
        before = known.get(record.key)
        what = outcome(
            submission,
            record,
            before.payload_hash if before else None,
            standing.get(before.job_id, []) if before else [],
        )
        outcomes.append(what)
        job_id = before.job_id if before else 0
        if before is None or what is Outcome.UPDATED:
            job_id = next_job + len(new_jobs)
            revision = before.revision + 1 if before else 1
            new_jobs.append(_job_row(job_id, submission.source, revision, record, at))
        if what in GETS_TASK:
            new_tasks.append(_task_row(job_id, submission, at))
    writer.run_many(_ADD_JOB, new_jobs)
    writer.run_many(_ADD_TASK, new_tasks)
    if known and new_tasks:
        ids = json_text([row["job_id"] for row in new_tasks])
        writer.run(_REPLACE_REVISIONS, {"ids": ids, "in_debate": submission.debate, "at": at})
    return outcomes


def _known_jobs(writer: Writer, source: str, group: Sequence[Record]) -> dict[str, _Known]:
    rows = writer.run(_KNOWN, {"keys": json_text([record.key for record in group]), "from_source": source})
    return {
        row.key: _Known(job_id=row.id, revision=row.revision, payload_hash=row.payload_hash) for row in rows
    }  # rows come by revision: the newest stays


def _standing(writer: Writer, debate: str, known: Mapping[str, _Known]) -> dict[int, list[tuple[Digest, TaskStatus]]]:
    found: dict[int, list[tuple[Digest, TaskStatus]]] = {}
    if known:
        ids = json_text([job.job_id for job in known.values()])
        for row in writer.run(_STANDING, {"ids": ids, "in_debate": debate}):
            found.setdefault(row.job_id, []).append((Digest(row.digest), TaskStatus(row.status)))
    return found


def _job_row(job_id: int, source: str, revision: int, record: Record, at: str) -> dict[str, Any]:
    return {
        "id": job_id,
        "source": source,
        "key": record.key,
        "revision": revision,
        "payload": record.payload,
        "payload_hash": record.payload_hash,
        "created_at": at,
    }


def _task_row(job_id: int, submission: Submission, at: str) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "debate": submission.debate,
        "digest": submission.digest,
        "status": TaskStatus.PENDING.value,
        "next_role": submission.first.role.value,
        "next_round": submission.first.round,
        "next_model": submission.first.model,
        "fresh": 1,
        "priority": submission.priority,
        "attempts": 0,
        "token": 0,
        "created_at": at,
        "updated_at": at,
    }


def supersede(writer: Writer, debate: str, digest: Digest, first: Step, now: datetime) -> int:
    """Replace pending tasks of other digests; how many were replaced."""
    values = {
        "in_debate": debate,
        "digest_is": digest,
        "first_role": first.role.value,
        "first_round": first.round,
        "first_model": first.model,
        "at": time_text(now),
    }
    writer.run(_REPLACEMENTS, values)
    return writer.run(_SUPERSEDE, values).rowcount
