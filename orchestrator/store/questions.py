"""The SELECT statements of `Reading`: what is counted and listed, and which rows count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, Subquery, Table, Text, column, func, select, table

from orchestrator.domain import Role, RunId, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.store.columns import UtcTime
from orchestrator.store.engine import constant, unindexed
from orchestrator.store.run_tables import endpoints, predictions, runs, swaps
from orchestrator.store.tables import attempts, jobs, tasks, turns, verdicts

_VERDICTS = table(
    "v_verdicts",
    *(
        column(name)
        for name in (
            "task_id",
            "source",
            "key",
            "revision",
            "debate",
            "digest",
            "status",
            "score",
            "label",
            "flags",
            "error_class",
            "analysis",
            "quotes_verified",
            "quotes_total",
            "backends",
            "judge_model",
            "turns",
        )
    ),
    column("finished_at", UtcTime),
    column("payload", Text),
)
_FAILURES = table(
    "v_failures",
    *(
        column(name)
        for name in (
            "attempt_id",
            "task_id",
            "source",
            "key",
            "debate",
            "status",
            "role",
            "round",
            "model",
            "endpoint",
            "attempt",
            "error_class",
            "guard",
            "error",
            "asks",
        )
    ),
    column("finished_at", UtcTime),
)
_STANDS = (tasks.c.debate, tasks.c.digest, tasks.c.status)

COUNTS = select(*_STANDS, func.count().label("tasks")).group_by(*_STANDS).order_by(*_STANDS)
FAILED_TASKS = (
    select(tasks.c.debate, tasks.c.error_class, func.count().label("tasks"))
    .where(tasks.c.status == constant(TaskStatus.FAILED))
    .group_by(tasks.c.debate, tasks.c.error_class)
)
FAILED_ATTEMPTS = (
    select(tasks.c.debate, attempts.c.error_class, func.count().label("tries"))
    .join(tasks, tasks.c.id == attempts.c.task_id)
    .group_by(tasks.c.debate, attempts.c.error_class)
)
SPEAKING = (
    select(
        tasks.c.endpoint,
        tasks.c.run_id,
        tasks.c.debate,
        tasks.c.next_role.label("role"),
        tasks.c.next_model.label("model"),
        func.count().label("count"),
        func.min(tasks.c.updated_at, type_=UtcTime).label("since"),
        func.min(tasks.c.leased_until, type_=UtcTime).label("leased_until"),
    )
    .where(tasks.c.status == constant(TaskStatus.LEASED))
    .group_by(tasks.c.endpoint, tasks.c.run_id, tasks.c.debate, tasks.c.next_role, tasks.c.next_model)
    .order_by(tasks.c.endpoint, tasks.c.run_id, tasks.c.debate, tasks.c.next_role, tasks.c.next_model)
)


def runs_of(limit: int) -> Select[Any]:
    """The newest runs, with what they left behind."""
    judged = turns.join(verdicts, verdicts.c.turn_id == turns.c.id)
    return (
        select(
            runs.c.id.label("run_id"),
            *(column for column in runs.c if column.name != "id"),
            _count(select(func.count()).select_from(turns).where(turns.c.run_id == runs.c.id)).label("turns"),
            _count(
                select(func.count())
                .select_from(judged)
                .where(turns.c.run_id == runs.c.id, turns.c.role == constant(Role.JUDGE))
            ).label("verdicts"),
            _count(select(func.count()).select_from(attempts).where(attempts.c.run_id == runs.c.id)).label(
                "failed_attempts"
            ),
            _count(select(func.count()).select_from(swaps).where(swaps.c.run_id == runs.c.id)).label("swaps"),
            _count(select(func.total(swaps.c.seconds)).where(swaps.c.run_id == runs.c.id)).label("swap_seconds"),
        )
        .order_by(runs.c.id.desc())
        .limit(limit)
    )


def reloads_of(run_ids: Sequence[RunId]) -> Select[Any]:
    """Loads that nobody asked for: swaps in which a model took its own place."""
    group = (swaps.c.run_id, swaps.c.endpoint, swaps.c.loaded)
    unasked = func.json_extract(swaps.c.unloaded, "$[0]") == swaps.c.loaded
    return (
        select(*group, func.count().label("loads"), func.total(swaps.c.seconds).label("seconds"))
        .where(swaps.c.run_id.in_(run_ids), unasked)
        .group_by(*group)
        .order_by(*group)
    )


def tokens(debate: str | None) -> Select[Any]:
    """Means over the turns by debate, role and model."""
    question = (
        select(
            tasks.c.debate,
            turns.c.role,
            turns.c.model,
            func.count().label("turns"),
            func.avg(turns.c.prompt_tokens).label("prompt_tokens"),
            func.avg(turns.c.reply_tokens).label("reply_tokens"),
            func.avg(turns.c.total_s).label("seconds"),
        )
        .select_from(turns.join(tasks, tasks.c.id == unindexed(turns.c.task_id)))
        .group_by(tasks.c.debate, turns.c.role, turns.c.model)
        .order_by(tasks.c.debate, turns.c.role, turns.c.model)
    )
    return question if debate is None else question.where(tasks.c.debate == debate)


def find(key: str, debate: str | None) -> Select[Any]:
    """The tasks of a record, newest first."""
    question = (
        select(
            tasks.c.id.label("task_id"),
            jobs.c.source,
            jobs.c.key,
            jobs.c.revision,
            jobs.c.payload,
            tasks,
            verdicts.c.score,
            verdicts.c.label,
            verdicts.c.flags,
        )
        .join(jobs, jobs.c.id == tasks.c.job_id)
        .outerjoin(verdicts, verdicts.c.task_id == tasks.c.id)
        .where(jobs.c.key == key)
        .order_by(tasks.c.id.desc())
    )
    return question if debate is None else question.where(tasks.c.debate == debate)


def verdicts_of(debate: str | None, *, include_unfinished: bool) -> Select[Any]:
    """The view `v_verdicts`, in order of the tasks."""
    question = select(_VERDICTS).order_by(_VERDICTS.c.task_id)
    if debate is not None:
        question = question.where(_VERDICTS.c.debate == debate)
    return question if include_unfinished else question.where(_VERDICTS.c.status == constant(TaskStatus.DONE))


def errors(debate: str | None, error_class: ErrorClass | None, limit: int | None) -> Select[Any]:
    """The view `v_failures`, newest first."""
    listed = [each for each in _FAILURES.c if each.name not in ("attempt_id", "finished_at")]
    question = select(*listed, _FAILURES.c.finished_at.label("at")).order_by(_FAILURES.c.attempt_id.desc())
    if debate is not None:
        question = question.where(_FAILURES.c.debate == debate)
    if error_class is not None:
        question = question.where(_FAILURES.c.error_class == error_class)
    return question.limit(limit)


def failure_texts(debate: str | None, error_class: ErrorClass | None) -> Select[Any]:
    """The view `v_failures` by debate, class, guard and text, with the newest attempt of each."""
    group = (_FAILURES.c.debate, _FAILURES.c.error_class, _FAILURES.c.guard, _FAILURES.c.error)
    newest = func.max(_FAILURES.c.attempt_id).label("newest")
    # SQLite takes the columns that are neither grouped nor counted from the row that has the maximum.
    question = select(
        *group, func.count().label("attempts"), newest, _FAILURES.c.key, _FAILURES.c.finished_at.label("at")
    ).group_by(*group)
    if debate is not None:
        question = question.where(_FAILURES.c.debate == debate)
    return question if error_class is None else question.where(_FAILURES.c.error_class == error_class)


def _count(question: Select[Any]) -> ScalarSelect[Any]:
    return question.correlate(runs).scalar_subquery()


LABELS = (
    select(
        tasks.c.debate,
        tasks.c.digest,
        verdicts.c.label,
        func.count().label("tasks"),
        func.avg(verdicts.c.score).label("mean"),
    )
    .join(tasks, tasks.c.id == verdicts.c.task_id)
    .group_by(tasks.c.debate, tasks.c.digest, verdicts.c.label)
    .order_by(tasks.c.debate, tasks.c.digest, func.avg(verdicts.c.score))
)


def pending(debate: str, limit: int) -> Select[Any]:
    """The records whose tasks would be claimed next."""
    return (
        select(jobs.c.key, jobs.c.payload)
        .join(tasks, tasks.c.job_id == jobs.c.id)
        .where(tasks.c.debate == debate, tasks.c.status == constant(TaskStatus.PENDING))
        .order_by(tasks.c.priority.desc(), tasks.c.id)
        .limit(limit)
    )


_INDEXED = (
    *(tasks.c.debate, tasks.c.digest, tasks.c.status, tasks.c.next_role, tasks.c.next_round, tasks.c.next_model),
    *(tasks.c.fresh, tasks.c.priority, tasks.c.home),
)
# Grouped by all columns of `tasks_status`, the status too, it is a walk of that index: no row is read, nothing sorted.
WAITING_STEPS = (
    select(*_INDEXED, func.count().label("tasks"))
    .where(unindexed(tasks.c.status) == constant(TaskStatus.PENDING))
    .group_by(*_INDEXED)
)
HELD_STEPS = (
    select(tasks.c.run_id, runs.c.lock, *_INDEXED, func.count().label("tasks"))
    .join(runs, runs.c.id == tasks.c.run_id)
    .where(tasks.c.status == constant(TaskStatus.LEASED))
    .group_by(tasks.c.run_id, *_INDEXED)
)
RESIDENTS = select(endpoints.c.name, endpoints.c.loaded).order_by(endpoints.c.name)


def rates_of(rates: Table, newest: int) -> Select[Any]:
    """The newest measurements of each model on each endpoint, newest first.

    All that one run measured is one measurement, and all that one probe measured at one time.
    """
    measurement = func.coalesce(rates.c.run_id, rates.c.measured_at)
    within = (rates.c.endpoint, rates.c.model, measurement)
    last = func.max(rates.c.measured_at).over(partition_by=within)
    dated = select(rates, measurement.label("measurement"), last.label("last")).subquery()
    order = (dated.c.last.desc(), dated.c.measurement.desc())
    rank = func.dense_rank().over(partition_by=(dated.c.endpoint, dated.c.model), order_by=order)
    ranked = select(dated, rank.label("rank")).subquery()
    columns = [ranked.c[each.name] for each in rates.c]
    return select(*columns).where(ranked.c.rank <= newest).order_by(ranked.c.endpoint, ranked.c.model, *_newest(ranked))


def _newest(ranked: Subquery) -> tuple[ColumnElement[Any], ...]:
    return ranked.c.rank, ranked.c.measured_at.desc(), ranked.c.id


def predictions_of(run_ids: Sequence[RunId]) -> Select[Any]:
    """What was said of these runs, the whole of each first."""
    question = select(predictions).where(predictions.c.run_id.in_(run_ids))
    return question.order_by(predictions.c.run_id, predictions.c.endpoint)


def times_of(run_ids: Sequence[RunId]) -> Select[Any]:
    """When these runs began and ended."""
    return select(runs.c.id, runs.c.started_at, runs.c.ended_at).where(runs.c.id.in_(run_ids)).order_by(runs.c.id)


def by_endpoint(table_: Table, run_ids: Sequence[RunId]) -> Select[Any]:
    """How many rows, turns or swaps, these runs left on each endpoint."""
    group = (table_.c.run_id, table_.c.endpoint)
    return select(*group, func.count().label("rows")).where(table_.c.run_id.in_(run_ids)).group_by(*group)
