"""What failed and why: failed attempts by class and text, with what is done about each class and what people can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.app.looking import error_class
from orchestrator.app.workplace import Workplace
from orchestrator.errors import ErrorClass, Guard, gist
from orchestrator.scheduler.retry import ANSWERS
from orchestrator.store.reading_rows import FailedRow, FailureCount, FailureText

_MOST_TEXTS = (
    500  # kept apart in one debate, class and guard; a server that says something new each time fills no memory
)
_OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failed attempts of one debate, class and guard whose texts differ in numbers only; the newest is the example."""

    debate: str
    error_class: ErrorClass
    guard: Guard | None  # the check that refused their replies, if one did
    attempts: int
    key: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is done about a class of failures, and what people can do."""

    happens: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Failed attempts: how many of each class, how many of each text, the newest of them, and what to do."""

    counts: list[FailureCount]
    groups: list[FailureGroup]  # the most attempts first, by debate and class as in `counts`
    newest: list[FailedRow]
    advice: dict[ErrorClass, Advice]  # of the classes that occur


def errors(workplace: Workplace, debate: str | None, only: str | None, limit: int) -> Errors:
    """Failed attempts. Raises NotFoundError for an unknown class."""
    kind = error_class(only)
    with workplace.reading() as reading:
        counts = [
            count
            for count in reading.failures()
            if debate in (None, count.debate) and kind in (None, count.error_class)
        ]
        groups = grouped(reading.failure_texts(debate, kind))
        newest = list(reading.errors(debate, kind, limit))
    classes = dict.fromkeys(count.error_class for count in counts)
    return Errors(counts=counts, groups=groups, newest=newest, advice={kind: advice(kind) for kind in classes})


def advice(kind: ErrorClass) -> Advice:
    """What is done about a class, and what people can do."""
    answer = ANSWERS[kind]
    return Advice(happens=answer.happens, mend=answer.mend)


def grouped(rows: Iterable[FailureText]) -> list[FailureGroup]:
    """Texts that differ in numbers only counted together, the most attempts first."""
    groups: dict[tuple[str, ErrorClass, Guard | None, str], FailureGroup] = {}
    sizes: Counter[tuple[str, ErrorClass, Guard | None]] = Counter()
    for row in rows:
        place = row.debate, row.error_class, row.guard
        key = (*place, gist(row.error))
        if key not in groups:
            sizes[place] += 1
            key = key if sizes[place] <= _MOST_TEXTS else (*place, _OTHERS)
        groups[key] = _joined(groups.get(key), row)
    return sorted(groups.values(), key=lambda group: (-group.attempts, group.debate, group.error_class, group.text))


def _joined(group: FailureGroup | None, row: FailureText) -> FailureGroup:
    if group is not None and group.at >= row.at:
        return replace(group, attempts=group.attempts + row.attempts)
    return FailureGroup(
        debate=row.debate,
        error_class=row.error_class,
        guard=row.guard,
        attempts=row.attempts + (group.attempts if group is not None else 0),
        key=row.key,
        text=row.error,
        at=row.at,
    )
