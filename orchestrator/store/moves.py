"""What a person asks for: failed or cancelled tasks again, or tasks no more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, exists, null, or_, select, update

from orchestrator.domain import TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.store.codec import json_text, time_text
from orchestrator.store.engine import Statement, Writer, constant, listed
from orchestrator.store.tables import jobs, tasks


def _wanted(keyed: bool) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [
        or_(bindparam("in_debate").is_(None), tasks.c.debate == bindparam("in_debate"))
    ]
    if keyed:
        wanted.append(tasks.c.job_id.in_(select(jobs.c.id).where(jobs.c.key.in_(listed("keys")))))
    return wanted


def _outdated() -> ColumnElement[bool]:
    """Whether a newer revision of the same record has a task in the same debate."""
    own, newer, later = jobs.alias("own"), jobs.alias("newer"), tasks.alias("later")
    return exists(
        select(constant(1))
        .select_from(own.join(newer, (newer.c.key == own.c.key) & (newer.c.source == own.c.source)))
        .join(later, later.c.job_id == newer.c.id)
        .where(own.c.id == tasks.c.job_id, newer.c.revision > own.c.revision, later.c.debate == tasks.c.debate)
        .correlate(tasks)
    )


def _retry(keyed: bool) -> Statement:
    return Statement(
        update(tasks)
        .where(
            tasks.c.status.in_([constant(TaskStatus.FAILED), constant(TaskStatus.CANCELLED)]),
            or_(bindparam("because").is_(None), tasks.c.error_class == bindparam("because")),
            *_wanted(keyed),
            ~_outdated(),
        )
        .values(
            status=constant(TaskStatus.PENDING),
            attempts=constant(0),
            not_before=null(),
            error_class=null(),
            updated_at=bindparam("at"),
            finished_at=null(),
        )
    )


def _cancel(keyed: bool) -> Statement:
    return Statement(
        update(tasks)
        .where(tasks.c.status.in_([constant(TaskStatus.PENDING), constant(TaskStatus.LEASED)]), *_wanted(keyed))
        .values(
            status=constant(TaskStatus.CANCELLED),
            error_class=constant(ErrorClass.CANCELLED),
            endpoint=null(),
            leased_until=null(),
            not_before=null(),
            updated_at=bindparam("at"),
            finished_at=bindparam("at"),
        )
    )


_RETRY = {keyed: _retry(keyed) for keyed in (False, True)}
_CANCEL = {keyed: _cancel(keyed) for keyed in (False, True)}


def retry(
    writer: Writer, now: datetime, debate: str | None, keys: Sequence[str] | None, error_class: ErrorClass | None
) -> int:
    """Failed and cancelled tasks wait again, their attempts forgotten; how many.

    Tasks of a record that has been submitted anew since then are left alone.
    """
    values = {"because": error_class and error_class.value, **_selection(debate, keys), "at": time_text(now)}
    return writer.run(_RETRY[keys is not None], values).rowcount


def cancel(writer: Writer, now: datetime, debate: str | None, keys: Sequence[str] | None) -> int:
    """Pending and leased tasks are cancelled, and their workers' late writes refused; how many."""
    return writer.run(_CANCEL[keys is not None], {**_selection(debate, keys), "at": time_text(now)}).rowcount


def _selection(debate: str | None, keys: Sequence[str] | None) -> dict[str, str | None]:
    return {"in_debate": debate, "keys": None if keys is None else json_text(list(keys))}
