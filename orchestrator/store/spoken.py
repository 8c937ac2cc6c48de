"""What a worker brings back: a finished turn or a failed attempt, kept only under the task's own token."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, null, select, update

from orchestrator.domain import Failed, RunId, Spoken, TaskStatus
from orchestrator.store.codec import optional_time_text, time_text, words_text
from orchestrator.store.engine import Statement, Writer, constant
from orchestrator.store.rows import attempt_row, turn_row
from orchestrator.store.tables import attempts, tasks, turns, verdicts

_TURN_COLUMNS = [column.name for column in turns.c if column.name != "id"]
_ATTEMPT_COLUMNS = [column.name for column in attempts.c if column.name != "id"]


def _move(**values: Any) -> Statement:
    """A task's move, if the caller still holds it and speaks the step that is next; returns its run."""
    held: list[ColumnElement[bool]] = [
        tasks.c.id == bindparam("task"),
        tasks.c.token == bindparam("under"),
        tasks.c.status == constant(TaskStatus.LEASED),
        tasks.c.next_role == bindparam("was_role"),
        tasks.c.next_round == bindparam("was_round"),
    ]
    return Statement(update(tasks).where(*held).values(updated_at=bindparam("at"), **values).returning(tasks.c.run_id))


_THEN = {
    "next_role": bindparam("then_role"),
    "next_round": bindparam("then_round"),
    "next_model": bindparam("then_model"),
    "home": bindparam("then_home"),
    "fresh": constant(0),
    "error_class": null(),
}
_UNLEASED = {"endpoint": null(), "leased_until": null()}

_HOLD = _move(attempts=constant(1), **_THEN)
_YIELD = _move(status=constant(TaskStatus.PENDING), attempts=constant(0), **_THEN, **_UNLEASED)
_FINISH = _move(
    status=constant(TaskStatus.DONE),
    attempts=constant(0),
    next_role=null(),
    next_round=null(),
    next_model=null(),
    home=constant(""),
    fresh=constant(0),
    error_class=null(),
    finished_at=bindparam("at"),
    **_UNLEASED,
)
_LATER = _move(
    status=constant(TaskStatus.PENDING),
    attempts=func.max(tasks.c.attempts - bindparam("uncounted"), constant(0)),
    not_before=bindparam("retry_at"),
    error_class=bindparam("because"),
    **_UNLEASED,
)
_GIVE_UP = _move(
    status=constant(TaskStatus.FAILED),
    attempts=func.max(tasks.c.attempts - bindparam("uncounted"), constant(0)),
    error_class=bindparam("because"),
    finished_at=bindparam("at"),
    **_UNLEASED,
)
_ADD_TURN = Statement(turns.insert(), _TURN_COLUMNS)
_ADD_ATTEMPT = Statement(attempts.insert(), _ATTEMPT_COLUMNS)
_ADD_VERDICT = Statement(verdicts.insert(), ["task_id", "score", "label", "turn_id", "created_at", "flags"])
_OWN_TURN = Statement(
    select(turns.c.id).where(
        turns.c.task_id == bindparam("task"),
        turns.c.token == bindparam("under"),
        turns.c.role == bindparam("was_role"),
        turns.c.round == bindparam("was_round"),
    )
)
_OWN_ATTEMPT = Statement(
    select(attempts.c.id).where(
        attempts.c.task_id == bindparam("task"),
        attempts.c.token == bindparam("under"),
        attempts.c.role == bindparam("was_role"),
        attempts.c.round == bindparam("was_round"),
        attempts.c.attempt == bindparam("number"),
        attempts.c.error_class == bindparam("because"),
        attempts.c.finished_at == bindparam("ended"),
    )
)


def record(writer: Writer, spoken: Spoken, now: datetime) -> bool:
    """Keep a turn, the task's move and the verdict; True as well if this very turn is kept already."""
    turn, at = spoken.turn, time_text(now)
    values = {
        "task": spoken.task_id,
        "under": spoken.token,
        "was_role": turn.role.value,
        "was_round": turn.round,
        "at": at,
    }
    if spoken.then is not None:
        values["then_role"] = spoken.then.role.value
        values["then_round"] = spoken.then.round
        values["then_model"] = spoken.then.model
        values["then_home"] = spoken.home
    run_id = writer.run(_move_after(spoken), values).scalar()
    if run_id is None:
        # An acknowledgement may be lost after its commit: the caller then asks again, and its row says so.
        return writer.run(_OWN_TURN, values).scalar() is not None
    turn_id = writer.run(_ADD_TURN, turn_row(turn, spoken.task_id, RunId(run_id), spoken.token)).lastrowid
    if spoken.verdict is not None:
        verdict = spoken.verdict
        said = {"score": verdict.score, "label": verdict.label, "flags": words_text(verdict.flags)}
        writer.run(_ADD_VERDICT, said | {"task_id": spoken.task_id, "turn_id": turn_id, "created_at": at})
    return True


def _move_after(spoken: Spoken) -> Statement:
    if (spoken.then is None) == (spoken.verdict is None):
        raise ValueError("a turn is followed by another one or by a verdict, not by both or neither")
    if spoken.verdict is not None:
        return _FINISH
    return _HOLD if spoken.hold else _YIELD


def fail(writer: Writer, failed: Failed, now: datetime) -> bool:
    """Keep a failed attempt and the task's move; True as well if this very attempt is kept already."""
    attempt = failed.attempt
    values = {
        "task": failed.task_id,
        "under": failed.token,
        "was_role": attempt.step.role.value,
        "was_round": attempt.step.round,
        "number": attempt.attempt,
        "because": attempt.error_class.value,
        "ended": time_text(attempt.finished_at),
        "at": time_text(now),
        "retry_at": optional_time_text(failed.retry_at),
        "uncounted": int(not failed.counted),
    }
    run_id = writer.run(_GIVE_UP if failed.retry_at is None else _LATER, values).scalar()
    if run_id is None:
        return writer.run(_OWN_ATTEMPT, values).scalar() is not None
    writer.run(_ADD_ATTEMPT, attempt_row(attempt, failed.task_id, RunId(run_id), failed.token))
    return True
