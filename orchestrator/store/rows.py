"""Turns and attempts as rows of plain SQLite values, and back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import RowMapping, select

from orchestrator.domain import Attempt, Backend, Mark, Quote, Role, RunId, Step, TaskId, Token, Turn, Usage
from orchestrator.errors import ErrorClass, Guard, StoreError
from orchestrator.store.codec import json_of, json_text, storable, time_of, time_text, words_of, words_text
from orchestrator.store.engine import Statement, listed
from orchestrator.store.tables import attempts, turns

TURNS = Statement(select(turns).where(turns.c.task_id.in_(listed("ids"))).order_by(turns.c.task_id, turns.c.id))
ATTEMPTS = Statement(
    select(attempts).where(attempts.c.task_id.in_(listed("ids"))).order_by(attempts.c.task_id, attempts.c.id)
)


def turn_row(turn: Turn, task_id: TaskId, run_id: RunId, token: Token) -> dict[str, Any]:
    """The columns of `turns`, without its id."""
    usage = turn.usage
    return {
        "task_id": task_id,
        "run_id": run_id,
        "token": token,
        "role": turn.role.value,
        "round": turn.round,
        "model": turn.model,
        "backend": turn.backend.value,
        "endpoint": turn.endpoint,
        "text": storable(turn.text),
        "reply": storable(json_text(turn.reply)),
        "quotes": storable(json_text([{"text": quote.text, "verified": quote.verified} for quote in turn.quotes])),
        "quotes_total": len(turn.quotes),
        "quotes_verified": sum(quote.verified for quote in turn.quotes),
        "prompt_hash": turn.prompt_hash,
        "asks": turn.asks,
        "attempt": turn.attempt,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "reply_tokens": usage.reply_tokens,
        "load_s": usage.load_s,
        "prompt_s": usage.prompt_s,
        "reply_s": usage.reply_s,
        "total_s": usage.total_s,
        "started_at": time_text(turn.started_at),
        "finished_at": time_text(turn.finished_at),
        "marks": words_text(turn.marks),
    }


def turn_of(row: RowMapping) -> Turn:
    """The turn in a row of `turns`. Raises StoreError where bytes have changed so that it is none any more."""
    try:
        return _turn(row)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreError(
            f"the {row['role']}'s turn {row['round']} of task {row['task_id']} is damaged ({error!r}): restore a copy "
            "of the database; `orchestrate db verify` names all such turns"
        ) from error


def _turn(row: RowMapping) -> Turn:
    return Turn(
        role=Role(row["role"]),
        round=row["round"],
        model=row["model"],
        backend=Backend(row["backend"]),
        endpoint=row["endpoint"],
        text=row["text"],
        reply=json_of(row["reply"]),
        quotes=tuple(Quote(text=quote["text"], verified=quote["verified"]) for quote in json_of(row["quotes"])),
        prompt_hash=row["prompt_hash"],
        asks=row["asks"],
        attempt=row["attempt"],
        usage=Usage(
            prompt_tokens=row["prompt_tokens"],
            cached_tokens=row["cached_tokens"],
            reply_tokens=row["reply_tokens"],
            load_s=row["load_s"],
            prompt_s=row["prompt_s"],
            reply_s=row["reply_s"],
            total_s=row["total_s"],
        ),
        started_at=time_of(row["started_at"]),
        finished_at=time_of(row["finished_at"]),
        marks=tuple(map(Mark, words_of(row["marks"]))),
    )


def attempt_row(attempt: Attempt, task_id: TaskId, run_id: RunId, token: Token) -> dict[str, Any]:
    """The columns of `attempts`, without its id."""
    return {
        "task_id": task_id,
        "run_id": run_id,
        "token": token,
        "role": attempt.step.role.value,
        "round": attempt.step.round,
        "model": attempt.step.model,
        "attempt": attempt.attempt,
        "endpoint": attempt.endpoint,
        "error_class": attempt.error_class.value,
        "error": storable(attempt.error),
        "reply": storable(attempt.reply),
        "started_at": time_text(attempt.started_at),
        "finished_at": time_text(attempt.finished_at),
        "guard": attempt.guard.value if attempt.guard else "",
        "asks": attempt.asks,
    }


def attempt_of(row: RowMapping) -> Attempt:
    """The failed attempt in a row of `attempts`."""
    return Attempt(
        step=Step(role=Role(row["role"]), round=row["round"], model=row["model"]),
        attempt=row["attempt"],
        endpoint=row["endpoint"],
        error_class=ErrorClass(row["error_class"]),
        error=row["error"],
        reply=row["reply"],
        started_at=time_of(row["started_at"]),
        finished_at=time_of(row["finished_at"]),
        guard=Guard(row["guard"]) if row["guard"] else None,
        asks=row["asks"],
    )


def turns_by_task(rows: Iterable[RowMapping]) -> dict[TaskId, tuple[Turn, ...]]:
    """The turns of each task in rows of `TURNS`, in order of speaking."""
    return {task_id: tuple(map(turn_of, group)) for task_id, group in groupby(rows, key=lambda row: row["task_id"])}


def sound_turns(rows: Iterable[RowMapping]) -> tuple[dict[TaskId, tuple[Turn, ...]], dict[TaskId, StoreError]]:
    """The same, and of each task that has a damaged turn what is wrong with it instead."""
    sound: dict[TaskId, tuple[Turn, ...]] = {}
    damaged: dict[TaskId, StoreError] = {}
    for task_id, group in groupby(rows, key=lambda row: row["task_id"]):
        try:
            sound[task_id] = tuple(map(turn_of, group))
        except StoreError as error:
            damaged[task_id] = error
    return sound, damaged


def attempts_by_task(rows: Iterable[RowMapping]) -> dict[TaskId, tuple[Attempt, ...]]:
    """The failed attempts of each task in rows of `ATTEMPTS`, oldest first."""
    return {task_id: tuple(map(attempt_of, group)) for task_id, group in groupby(rows, key=lambda row: row["task_id"])}
