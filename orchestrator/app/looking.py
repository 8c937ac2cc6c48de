"""What a person looks at: the state of things, one debate, the verdicts, the errors."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.app.workplace import Workplace
from orchestrator.debate.lint import Mark, marks
from orchestrator.domain import Flag, RunId, RunStatus
from orchestrator.errors import ErrorClass, NotFoundError
from orchestrator.measures import Prediction
from orchestrator.records.cells import OWN_RECORD, Column
from orchestrator.records.write import write_rows
from orchestrator.scheduler.liveness import dead
from orchestrator.store.doubts import ConstantJudge, Doubts
from orchestrator.store.reading_rows import (
    Actual,
    FailureCount,
    LabelCount,
    ReloadCount,
    RunRow,
    SpeakingRow,
    StatusCount,
    TaskDetail,
    VerdictRow,
)

if TYPE_CHECKING:
    from orchestrator.store.reading import Reading

_RUNS = 5

EXPORT = (
    Column(name="key", kind="text"),
    Column(name="source", kind="text"),
    Column(name="revision", kind="integer"),
    Column(name="debate", kind="text"),
    Column(name="digest", kind="text"),
    Column(name="status", kind="text"),
    Column(name="score", kind="integer"),
    Column(name="label", kind="text"),
    Column(name="flags", kind="text"),
    Column(name="error_class", kind="text"),
    Column(name="analysis", kind="text"),
    Column(name="quotes_verified", kind="integer"),
    Column(name="quotes_total", kind="integer"),
    Column(name="backends", kind="text"),
    Column(name="judge_model", kind="text"),
    Column(name="turns", kind="integer"),
    Column(name="finished_at", kind="time"),
)
RECORD = Column(name=OWN_RECORD, kind="json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was said of a run before it began, and what came of it; `endpoint` "" is the run as a whole.

    `status` is lost as soon as the run's process is known to be dead, even if no later run has put that down yet.
    """

    run_id: RunId
    status: RunStatus
    endpoint: str
    predicted: Prediction
    actual: Actual


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One screen of the state of things."""

    database: Path
    tasks: list[StatusCount]
    labels: list[LabelCount]
    failures: list[FailureCount]
    speaking: list[SpeakingRow]
    runs: list[RunRow]  # the newest few, newest first
    comparisons: list[Comparison]  # of these runs, as far as anything was said of them
    doubts: Doubts  # constant judges are those of these runs
    reloads: list[ReloadCount]  # of these runs: loads of a model that was loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortVerdict:
    """One line of a table of verdicts."""

    key: str
    debate: str
    status: str
    score: int | None
    label: str | None
    flags: tuple[Flag, ...]
    error_class: str | None
    quotes_verified: int
    quotes_total: int
    backends: tuple[str, ...]
    analysis: str | None
    finished_at: datetime | None


def status(workplace: Workplace) -> Status:
    """The state of things now. Raises StoreError."""
    with workplace.reading() as reading:
        runs = reading.runs(_RUNS)
        return Status(
            database=workplace.config.database,
            tasks=reading.counts(),
            labels=reading.labels(),
            failures=reading.failures(),
            speaking=reading.speaking(),
            runs=runs,
            comparisons=_comparisons(reading, _ends(workplace.config.database, runs)),
            doubts=reading.doubts([run.run_id for run in runs]),
            reloads=reading.reloads([run.run_id for run in runs]),
        )


def constant_judges(workplace: Workplace, run_id: RunId) -> list[ConstantJudge]:
    """The judges that gave every record of a run the same score."""
    with workplace.reading() as reading:
        return reading.doubts([run_id]).constant_judges


def comparisons(workplace: Workplace, run_id: RunId, status: RunStatus) -> list[Comparison]:
    """What was said of a run that ended so and what came of it, the whole run first; empty if nothing was said."""
    with workplace.reading() as reading:
        return _comparisons(reading, {run_id: status})


def _ends(database: Path, runs: Sequence[RunRow]) -> dict[RunId, RunStatus]:
    running = {run.run_id: run.lock for run in runs if run.status is RunStatus.RUNNING}
    gone = set(dead(database, running))
    return {run.run_id: RunStatus.LOST if run.run_id in gone else run.status for run in runs}


def _comparisons(reading: Reading, ends: Mapping[RunId, RunStatus]) -> list[Comparison]:
    said, made = reading.predictions(list(ends)), reading.actuals(list(ends))
    found = []
    for run_id, status in ends.items():
        actuals = {actual.endpoint: actual for actual in made[run_id]}
        for predicted in said[run_id]:
            name, whole = predicted.endpoint, actuals[""]
            nothing = Actual(endpoint=name, turns=0, loads=0, seconds=whole.seconds)
            actual = actuals.get(name, nothing)
            found.append(Comparison(run_id=run_id, status=status, endpoint=name, predicted=predicted, actual=actual))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A task, and what the lint finds in its record."""

    detail: TaskDetail
    marks: tuple[Mark, ...]


def show(workplace: Workplace, key: str, debate: str | None) -> list[Shown]:
    """Every task of a record, newest first. Raises NotFoundError for a key that is not there."""
    with workplace.reading() as reading:
        found = reading.find(key, debate)
    if not found:
        raise NotFoundError(
            f"no record has the key {key!r}{f' in debate {debate}' if debate else ''}; orchestrate show lists some"
        )
    return [Shown(detail=detail, marks=marks(detail.payload)) for detail in found]


def verdicts(workplace: Workplace, debate: str | None, limit: int) -> list[ShortVerdict]:
    """The first so many tasks with what became of them."""
    with workplace.reading() as reading:
        return [_short(row) for row in islice(reading.verdicts(debate), limit)]


def _short(row: VerdictRow) -> ShortVerdict:
    return ShortVerdict(**{name: getattr(row, name) for name in ShortVerdict.__slots__})


def export(workplace: Workplace, file: Path, debate: str | None, *, records: bool, force: bool) -> int:
    """Write one row for each task that was not superseded, from one snapshot; how many.

    Raises:
        OrchestrateError: the file exists, or its ending is none of .jsonl, .csv, .parquet.
    """
    columns = [*EXPORT, RECORD] if records else EXPORT
    with workplace.reading() as reading:
        rows = (_row(row) for row in reading.verdicts(debate))
        return write_rows(file, rows, columns, force=force, stdout=sys.stdout)


def _row(row: VerdictRow) -> dict[str, object]:
    values = {column.name: getattr(row, column.name) for column in EXPORT}
    return values | {"flags": ", ".join(row.flags), "backends": ", ".join(row.backends), RECORD.name: row.payload}


def error_class(name: str | None) -> ErrorClass | None:
    """The class of that name. Raises NotFoundError, with the names there are."""
    if name is None:
        return None
    try:
        return ErrorClass(name)
    except ValueError as error:
        raise NotFoundError(f"there is no error class {name!r}; there are: {', '.join(ErrorClass)}") from error
