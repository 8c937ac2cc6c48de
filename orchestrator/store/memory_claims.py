"""Claims and what comes back from them, in memory: the same moves as `claims` and `spoken`, on plain rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import islice

from orchestrator.domain import Attempt, Claim, Failed, Role, Spoken, TaskId, TaskStatus, Token, Turn
from orchestrator.errors import ErrorClass
from orchestrator.ports import ClaimRequest
from orchestrator.store.codec import json_of, json_text, storable
from orchestrator.store.memory_runs import give_back
from orchestrator.store.memory_state import State, TaskRow, backs_off, step_of
from orchestrator.store.outcomes import ALONE_AFTER


def claim(state: State, request: ClaimRequest) -> list[Claim]:
    """Take tasks, highest priority first, then oldest; one that may kill its worker last and alone."""
    if request.resident is not None and not _agreed(state, request.endpoint, request.resident):
        return []
    queue = state.queue((request.digest, request.model, request.fresh, request.home))
    ready = (row for row in queue if not backs_off(row, request.now))
    mine = [row for row in ready if not request.mine or row.run_id == request.run_id]
    taken = list(islice((row for row in mine if not _goes_alone(row)), request.limit))
    if not taken and request.limit and not any(row.run_id == request.run_id for row in state.leased()):
        taken = [row for row in mine if _goes_alone(row)][:1]
    return [_take(state, row, request) for row in taken]


def release(state: State, task_id: TaskId, token: Token, now: datetime) -> bool:
    """Give a claim back unspoken."""
    row = _held(state, task_id, token)
    if row is None:
        return False
    state.put_task(replace(give_back(row, now), attempts=max(row.attempts - 1, 0)))
    return True


def record(state: State, spoken: Spoken, now: datetime) -> bool:
    """Keep a turn, the task's move and the verdict; True as well if this very turn is kept already."""
    if (spoken.then is None) == (spoken.verdict is None):
        raise ValueError("a turn is followed by another one or by a verdict, not by both or neither")
    turn, kept = spoken.turn, state.turns.get(spoken.task_id, ())
    row = _speaking(state, spoken.task_id, spoken.token, turn.role, turn.round)
    if row is None:
        own = (spoken.token, turn.role, turn.round)
        return any((token, said.role, said.round) == own for token, said in kept)
    state.put(state.turns, spoken.task_id, (*kept, (spoken.token, _clean(turn))))
    state.put_task(_after(row, spoken, now))
    if spoken.verdict is not None:
        state.put(state.verdicts, spoken.task_id, spoken.verdict)
    return True


def fail(state: State, failed: Failed, now: datetime) -> bool:
    """Keep a failed attempt and the task's move; True as well if this very attempt is kept already."""
    attempt = replace(failed.attempt, error=storable(failed.attempt.error), reply=storable(failed.attempt.reply))
    kept = state.attempts.get(failed.task_id, ())
    row = _speaking(state, failed.task_id, failed.token, attempt.step.role, attempt.step.round)
    if row is None:
        own = (failed.token, _identity(attempt))
        return any((token, _identity(before)) == own for token, before in kept)
    state.put(state.attempts, failed.task_id, (*kept, (failed.token, attempt)))
    state.put_task(
        replace(
            give_back(row, now),
            status=TaskStatus.FAILED if failed.retry_at is None else TaskStatus.PENDING,
            attempts=row.attempts if failed.counted else max(row.attempts - 1, 0),
            not_before=failed.retry_at,
            error_class=attempt.error_class,
        )
    )
    return True


def _goes_alone(row: TaskRow) -> bool:
    return row.attempts >= ALONE_AFTER and row.error_class is ErrorClass.LOST


def _agreed(state: State, endpoint: str, version: int) -> bool:
    row = state.endpoints.get(endpoint)
    return row is not None and row.version == version and row.swap_until is None


def _take(state: State, row: TaskRow, request: ClaimRequest) -> Claim:
    taken = replace(
        row,
        status=TaskStatus.LEASED,
        token=Token(row.token + 1),
        attempts=row.attempts + 1,
        run_id=request.run_id,
        endpoint=request.endpoint,
        leased_until=request.leased_until,
        not_before=None,
        updated_at=request.now,
    )
    state.put_task(taken)
    return Claim(
        task_id=taken.task_id,
        token=taken.token,
        key=state.jobs[taken.job_id].key,
        payload=state.jobs[taken.job_id].payload,
        debate=taken.debate,
        digest=taken.digest,
        step=step_of(taken),
        attempt=taken.attempts,
        turns=tuple(turn for _, turn in state.turns.get(taken.task_id, ())),
    )


def _held(state: State, task_id: TaskId, token: Token) -> TaskRow | None:
    row = state.tasks.get(task_id)
    if row is None or row.token != token or row.status is not TaskStatus.LEASED:
        return None
    return row


def _speaking(state: State, task_id: TaskId, token: Token, role: Role, round_: int) -> TaskRow | None:
    row = _held(state, task_id, token)
    if row is None or row.step is None or (row.step.role, row.step.round) != (role, round_):
        return None
    return row


def _after(row: TaskRow, spoken: Spoken, now: datetime) -> TaskRow:
    row = replace(row, fresh=False, error_class=None, updated_at=now, step=spoken.then, home=spoken.home)
    if spoken.verdict is not None:
        return replace(give_back(row, now), status=TaskStatus.DONE, attempts=0, home="")
    if spoken.hold:
        return replace(row, attempts=1)
    return replace(give_back(row, now), attempts=0)


def _clean(turn: Turn) -> Turn:
    reply = json_of(storable(json_text(turn.reply)))
    quotes = tuple(replace(quote, text=storable(quote.text)) for quote in turn.quotes)
    return replace(turn, text=storable(turn.text), reply=reply, quotes=quotes)


def _identity(attempt: Attempt) -> tuple[object, ...]:
    step = attempt.step
    return step.role, step.round, attempt.attempt, attempt.error_class, attempt.finished_at
