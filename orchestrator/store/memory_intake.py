"""Submit and supersede, in memory: the same decisions as `intake`, on plain rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import Digest, JobDraft, Step, Submission, Submitted, TaskId, TaskStatus, Token
from orchestrator.store.codec import Record, json_of, record_of
from orchestrator.store.memory_state import JobRow, State, TaskRow
from orchestrator.store.outcomes import GETS_TASK, Outcome, outcome, submitted, without_repeats


def submit(state: State, submission: Submission, drafts: Sequence[JobDraft], now: datetime) -> Submitted:
    """Add what is new."""
    counts: Counter[Outcome] = Counter()
    changed: list[str] = []
    for group in without_repeats(map(record_of, drafts)):
        for record in group:
            what = _submit_one(state, submission, record, now)
            counts[what] += 1
            if what is Outcome.CHANGED:
                changed.append(record.key)
    return submitted(counts, changed)


def supersede(state: State, debate: str, digest: Digest, first: Step, now: datetime) -> int:
    """Replace pending tasks of other digests; how many were replaced."""
    outdated = [
        row
        for row in state.tasks.values()
        if row.debate == debate and row.status is TaskStatus.PENDING and row.digest != digest
    ]
    for row in outdated:
        _want(state, row.job_id, debate, digest, first, row.priority, now)
        _retire(state, row, now)
    return len(outdated)


def _submit_one(state: State, submission: Submission, record: Record, now: datetime) -> Outcome:
    before = state.newest(submission.source, record.key)
    standing = state.tasks_of(before.job_id, submission.debate) if before else []
    what = outcome(
        submission,
        record,
        before.payload_hash if before else None,
        [(row.digest, row.status) for row in standing],
    )
    if what not in GETS_TASK:
        return what
    if before is None or what is Outcome.UPDATED:
        job = _add_revision(state, submission.source, record, before)
    else:
        job = before
    _want(state, job.job_id, submission.debate, submission.digest, submission.first, submission.priority, now)
    for older in state.revisions[job.source, job.key][:-1]:
        for row in state.tasks_of(older, submission.debate):
            if row.status in (TaskStatus.PENDING, TaskStatus.LEASED):
                _retire(state, row, now)
    return what


def _add_revision(state: State, source: str, record: Record, before: JobRow | None) -> JobRow:
    job = JobRow(
        job_id=len(state.jobs) + 1,
        source=source,
        key=record.key,
        revision=before.revision + 1 if before else 1,
        payload=json_of(record.payload),
        payload_hash=record.payload_hash,
    )
    state.put(state.jobs, job.job_id, job)
    state.put(state.revisions, (source, record.key), (*state.revisions.get((source, record.key), ()), job.job_id))
    return job


def _want(state: State, job_id: int, debate: str, digest: Digest, first: Step, priority: int, now: datetime) -> None:
    """A pending task; a superseded one wakes, with the turns it had, and any other is left alone."""
    for task_id in state.of_job.get(job_id, ()):
        row = state.tasks[task_id]
        if row.digest == digest:
            if row.status is TaskStatus.SUPERSEDED:
                state.put_task(replace(row, status=TaskStatus.PENDING, updated_at=now))
            return
    row = TaskRow(
        task_id=TaskId(len(state.tasks) + 1),
        job_id=job_id,
        debate=debate,
        digest=digest,
        status=TaskStatus.PENDING,
        step=first,
        fresh=True,
        home="",
        priority=priority,
        attempts=0,
        token=Token(0),
        run_id=None,
        endpoint=None,
        leased_until=None,
        not_before=None,
        error_class=None,
        updated_at=now,
    )
    state.put_task(row)
    state.put(state.of_job, job_id, (*state.of_job.get(job_id, ()), row.task_id))


def _retire(state: State, row: TaskRow, now: datetime) -> None:
    state.put_task(
        replace(
            row,
            status=TaskStatus.SUPERSEDED,
            endpoint=None,
            leased_until=None,
            not_before=None,
            updated_at=now,
        )
    )
