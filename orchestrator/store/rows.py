"""Turns and attempts as rows of plain SQLite values, and back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import RowMapping, select

from orchestrator.domain import Attempt, Mark, Quote, RunId, Step, TaskId, Token, Turn, Usage
from orchestrator.store.codec import (
    UnreadableError,
    json_of,
    json_text,
    object_of,
    shortened,
    storable,
    time_of,
    time_text,
    word_of,
    words_of,
    words_text,
)
from orchestrator.store.engine import Statement, listed
from orchestrator.store.made import made
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
    """The turn in a row of `turns`. Raises UnreadableError for a row that the store has not written."""
    composed = {
        "reply": object_of(row["reply"]),
        "quotes": _quotes(row["quotes"]),
        "usage": made(Usage, row),
        "started_at": time_of(row["started_at"]),
        "finished_at": time_of(row["finished_at"]),
        "marks": tuple(word_of(Mark, word) for word in words_of(row["marks"])),
    }
    return made(Turn, {**row, **composed})


def _quotes(text: str) -> tuple[Quote, ...]:
    found = json_of(text)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UnreadableError(f"{shortened(text)} is no list of quotes")
    return tuple(made(Quote, {"text": each.get("text"), "verified": each.get("verified")}) for each in found)


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
    """The failed attempt in a row of `attempts`. Raises UnreadableError for a row that the store has not written."""
    composed = {
        "step": made(Step, row),
        "started_at": time_of(row["started_at"]),
        "finished_at": time_of(row["finished_at"]),
        "guard": row["guard"] or None,
    }
    return made(Attempt, {**row, **composed})


def turns_by_task(rows: Iterable[RowMapping]) -> dict[TaskId, tuple[Turn, ...]]:
    """The turns of each task in rows of `TURNS`, in order of speaking."""
    return {task_id: tuple(map(turn_of, group)) for task_id, group in groupby(rows, key=lambda row: row["task_id"])}


def attempts_by_task(rows: Iterable[RowMapping]) -> dict[TaskId, tuple[Attempt, ...]]:
    """The failed attempts of each task in rows of `ATTEMPTS`, oldest first."""
    return {task_id: tuple(map(attempt_of, group)) for task_id, group in groupby(rows, key=lambda row: row["task_id"])}
