"""What a person should look at before believing the verdicts: flags, marks, refused replies, and constant judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from orchestrator.domain import Digest, Flag, Mark, Role, RunId
from orchestrator.errors import Guard
from orchestrator.store.codec import word_of, words_of
from orchestrator.store.engine import constant
from orchestrator.store.made import made, text_in
from orchestrator.store.tables import attempts, tasks, turns, verdicts

CONSTANT_FROM = 20  # verdicts of one run; fewer of the same score may be chance


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCount:
    """Verdicts of one debate and digest that carry a flag."""

    debate: str
    digest: Digest
    flag: Flag
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkCount:
    """Turns of one debate that carry a mark; one of two marks is counted under both."""

    debate: str
    mark: Mark
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardCount:
    """Failed attempts of one debate whose reply a check refused."""

    debate: str
    guard: Guard
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantJudge:
    """A judge that gave every record of a run the same score, and that to at least `CONSTANT_FROM` of them."""

    run_id: RunId
    debate: str
    digest: Digest
    model: str
    score: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """All of them; each list is empty where there is nothing to doubt."""

    flags: list[FlagCount]
    marks: list[MarkCount]
    guards: list[GuardCount]
    constant_judges: list[ConstantJudge]


def found(connection: Connection, run_ids: Sequence[RunId]) -> Doubts:
    """The doubts about a whole database; those about constant judges for these runs only.

    Raises UnreadableError for a row that the store has not written.
    """
    flags: Counter[tuple[str, Digest, Flag]] = Counter()
    for row in connection.execute(_FLAGS):
        place = text_in(row.debate), Digest(text_in(row.digest))
        flags.update({(*place, word_of(Flag, word)): row.rows for word in words_of(row.flags)})
    marks: Counter[tuple[str, Mark]] = Counter()
    for row in connection.execute(_MARKS):
        marks.update({(text_in(row.debate), word_of(Mark, word)): row.rows for word in words_of(row.marks)})
    return Doubts(
        flags=[
            FlagCount(debate=debate, digest=digest, flag=flag, count=count)
            for (debate, digest, flag), count in sorted(flags.items())
        ],
        marks=[MarkCount(debate=debate, mark=mark, count=count) for (debate, mark), count in sorted(marks.items())],
        guards=[made(GuardCount, {**row._mapping, "count": row.rows}) for row in connection.execute(_GUARDS)],
        constant_judges=[made(ConstantJudge, row._mapping) for row in connection.execute(_constant_judges(run_ids))],
    )


def _rows(*group: ColumnElement[Any]) -> Select[Any]:
    return select(*group, func.count().label("rows")).group_by(*group).order_by(*group)


_FLAGS = (
    _rows(tasks.c.debate, tasks.c.digest, verdicts.c.flags)
    .join(tasks, tasks.c.id == verdicts.c.task_id)
    .where(verdicts.c.flags > constant(""))
)
_MARKS = (
    _rows(tasks.c.debate, turns.c.marks).join(tasks, tasks.c.id == turns.c.task_id).where(turns.c.marks > constant(""))
)
_GUARDS = (
    _rows(tasks.c.debate, attempts.c.guard)
    .join(tasks, tasks.c.id == attempts.c.task_id)
    .where(attempts.c.guard > constant(""))
)


def _constant_judges(run_ids: Sequence[RunId]) -> Select[Any]:
    group = (turns.c.run_id, tasks.c.debate, tasks.c.digest, turns.c.model)
    lowest, count = func.min(verdicts.c.score), func.count()
    return (
        select(*group, lowest.label("score"), count.label("count"))
        .select_from(
            turns.join(verdicts, verdicts.c.turn_id == turns.c.id).join(tasks, tasks.c.id == verdicts.c.task_id)
        )
        .where(turns.c.run_id.in_(run_ids), turns.c.role == constant(Role.JUDGE))
        .group_by(*group)
        .having(count >= CONSTANT_FROM, lowest == func.max(verdicts.c.score))
        .order_by(*group)
    )
