"""Asks the `questions` about a database while a run writes to it: each answer is one snapshot; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Executable, Row

from orchestrator.domain import Digest, Flag, JobDraft, Role, RunId, RunStatus, Step, TaskId, TaskStatus, Verdict
from orchestrator.errors import ErrorClass, Guard
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.store import doubts, questions
from orchestrator.store.codec import json_of, json_text, words_of
from orchestrator.store.doubts import Doubts
from orchestrator.store.engine import connect_to_read, reader_engine, said_in_words
from orchestrator.store.reading_rows import (
    Actual,
    FailedRow,
    FailureCount,
    FailureText,
    HeldSteps,
    LabelCount,
    MeasuredLoads,
    MeasuredTurns,
    ReloadCount,
    RunRow,
    SpeakingRow,
    StatusCount,
    StepCount,
    TaskDetail,
    TokenMeans,
    VerdictRow,
)
from orchestrator.store.rows import ATTEMPTS, TURNS, attempts_by_task, turns_by_task
from orchestrator.store.run_tables import load_rates, swaps, turn_rates
from orchestrator.store.tables import turns

_ROWS_AT_ONCE = 500
_Place = tuple[int, str]  # a run and an endpoint


class Reading:
    """A read-only view of a database. All errors are StoreError."""

    def __init__(self, path: Path) -> None:
        """Open a database that exists."""
        self._path = path
        with said_in_words(path):
            connect_to_read(path).close()
        self._engine = reader_engine(path)

    def close(self) -> None:
        """Give the file back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def counts(self) -> list[StatusCount]:
        """Tasks by debate, digest and status."""
        return [
            StatusCount(debate=row.debate, digest=Digest(row.digest), status=TaskStatus(row.status), count=row.tasks)
            for row in self._all(questions.COUNTS)
        ]

    def labels(self) -> list[LabelCount]:
        """Verdicts by debate, digest and label, lowest scores first."""
        return [
            LabelCount(
                debate=row.debate, digest=Digest(row.digest), label=row.label, count=row.tasks, mean_score=row.mean
            )
            for row in self._all(questions.LABELS)
        ]

    def pending(self, debate: str, limit: int) -> list[JobDraft]:
        """The records that would be claimed next."""
        rows = self._all(questions.pending(debate, limit))
        return [JobDraft(key=row.key, payload=json_of(row.payload)) for row in rows]

    def failures(self) -> list[FailureCount]:
        """Failed tasks and failed attempts by debate and class of error, the most tasks first."""
        with self._snapshot() as connection:
            failed = {(row.debate, row.error_class): row.tasks for row in connection.execute(questions.FAILED_TASKS)}
            tried = {(row.debate, row.error_class): row.tries for row in connection.execute(questions.FAILED_ATTEMPTS)}
        counts = [
            FailureCount(
                debate=debate,
                error_class=ErrorClass(word),
                tasks=failed.get((debate, word), 0),
                attempts=tried.get((debate, word), 0),
            )
            for debate, word in failed.keys() | tried.keys()
        ]
        return sorted(counts, key=lambda count: (count.debate, -count.tasks, -count.attempts, count.error_class))

    def waiting_steps(self) -> list[StepCount]:
        """Pending turns by debate, digest, step, priority and home."""
        return [_step_count(row) for row in self._all(questions.WAITING_STEPS)]

    def held_steps(self) -> list[HeldSteps]:
        """Turns under lease, by the run that holds them, as `waiting_steps`."""
        return [
            HeldSteps(run_id=RunId(row.run_id), lock=row.lock, steps=_step_count(row))
            for row in self._all(questions.HELD_STEPS)
        ]

    def residents(self) -> dict[str, tuple[str, ...]]:
        """What the runs agreed that each endpoint has loaded, by its name."""
        return {row.name: tuple(json_of(row.loaded)) for row in self._all(questions.RESIDENTS)}

    def rates(self, runs: int = 5) -> tuple[list[MeasuredTurns], list[MeasuredLoads]]:
        """What the newest runs and probes measured of each model on each endpoint, newest first."""
        spoken = [
            MeasuredTurns(rate=TurnRate(**_rate(row), role=Role(row.role)), run_id=row.run_id, at=row.measured_at)
            for row in self._all(questions.rates_of(turn_rates, runs))
        ]
        loaded = [
            MeasuredLoads(rate=LoadRate(**_rate(row)), run_id=row.run_id, at=row.measured_at)
            for row in self._all(questions.rates_of(load_rates, runs))
        ]
        return spoken, loaded

    def predictions(self, run_ids: Sequence[RunId]) -> dict[RunId, list[Prediction]]:
        """What was said of each of these runs before it began, of the whole run first; nothing for some."""
        said: dict[RunId, list[Prediction]] = {run_id: [] for run_id in run_ids}
        for row in self._all(questions.predictions_of(run_ids)):
            known = {name: value for name, value in row._mapping.items() if name != "run_id"}
            said[RunId(row.run_id)].append(Prediction(**known))
        return said

    def actuals(self, run_ids: Sequence[RunId]) -> dict[RunId, list[Actual]]:
        """What became of each of these runs, of the whole run first; nothing for a run that is not there."""
        with self._snapshot() as connection:
            made = [
                {(row.run_id, row.endpoint): row.rows for row in connection.execute(question)}
                for question in (questions.by_endpoint(turns, run_ids), questions.by_endpoint(swaps, run_ids))
            ]
            times = connection.execute(questions.times_of(run_ids)).all()
        return {run_id: [] for run_id in run_ids} | {RunId(row.id): _actuals(row, *made) for row in times}

    def reloads(self, run_ids: Sequence[RunId]) -> list[ReloadCount]:
        """Loads that nobody asked for, by run, endpoint and model."""
        return [
            ReloadCount(
                run_id=RunId(row.run_id), endpoint=row.endpoint, model=row.loaded, count=row.loads, seconds=row.seconds
            )
            for row in self._all(questions.reloads_of(run_ids))
        ]

    def runs(self, limit: int = 20) -> list[RunRow]:
        """The newest runs, newest first, and what came of them."""
        return [
            RunRow(**{**row._mapping, "run_id": RunId(row.run_id), "status": RunStatus(row.status)})
            for row in self._all(questions.runs_of(limit))
        ]

    def doubts(self, run_ids: Sequence[RunId]) -> Doubts:
        """What to look at before believing the verdicts; constant judges are those of these runs."""
        with self._snapshot() as connection:
            return doubts.found(connection, run_ids)

    def speaking(self) -> list[SpeakingRow]:
        """Tasks under lease now, by endpoint, run and role."""
        return [
            SpeakingRow(**{**row._mapping, "run_id": RunId(row.run_id), "role": Role(row.role)})
            for row in self._all(questions.SPEAKING)
        ]

    def tokens(self, debate: str | None = None) -> list[TokenMeans]:
        """Mean tokens and seconds of the turns by debate, role and model."""
        return [TokenMeans(**{**row._mapping, "role": Role(row.role)}) for row in self._all(questions.tokens(debate))]

    def find(self, key: str, debate: str | None = None) -> list[TaskDetail]:
        """Every task of a record, newest first; empty for a key that is not there."""
        with self._snapshot() as connection:
            rows = connection.execute(questions.find(key, debate)).all()
            ids = {"ids": json_text([row.task_id for row in rows])}
            spoken = turns_by_task(connection.exec_driver_sql(TURNS.sql, TURNS.bind(ids)).mappings())
            attempts = attempts_by_task(connection.exec_driver_sql(ATTEMPTS.sql, ATTEMPTS.bind(ids)).mappings())
        return [
            TaskDetail(
                task_id=TaskId(row.task_id),
                source=row.source,
                key=row.key,
                revision=row.revision,
                payload=json_of(row.payload),
                debate=row.debate,
                digest=Digest(row.digest),
                status=TaskStatus(row.status),
                step=_step(row),
                tries=row.attempts,
                error_class=row.error_class and ErrorClass(row.error_class),
                not_before=row.not_before,
                created_at=row.created_at,
                finished_at=row.finished_at,
                turns=spoken.get(row.task_id, ()),
                attempts=attempts.get(row.task_id, ()),
                verdict=_verdict(row),
            )
            for row in rows
        ]

    def verdicts(self, debate: str | None = None, *, include_unfinished: bool = True) -> Iterator[VerdictRow]:
        """Every task that was not superseded, in order of its number, from one snapshot and in flat memory."""
        for row in self._stream(questions.verdicts_of(debate, include_unfinished=include_unfinished)):
            yield VerdictRow(
                **{
                    **row._mapping,
                    "status": TaskStatus(row.status),
                    "flags": tuple(map(Flag, words_of(row.flags or ""))),
                    "error_class": row.error_class and ErrorClass(row.error_class),
                    "backends": tuple(sorted(row.backends.split(","))) if row.backends else (),
                    "payload": json_of(row.payload),
                }
            )

    def errors(
        self, debate: str | None = None, error_class: ErrorClass | None = None, limit: int | None = None
    ) -> Iterator[FailedRow]:
        """Failed attempts, newest first; all of them without a limit."""
        for row in self._stream(questions.errors(debate, error_class, limit)):
            yield FailedRow(
                **{
                    **row._mapping,
                    "status": TaskStatus(row.status),
                    "role": Role(row.role),
                    "error_class": ErrorClass(row.error_class),
                    "guard": Guard(row.guard) if row.guard else None,
                }
            )

    def failure_texts(self, debate: str | None = None, error_class: ErrorClass | None = None) -> Iterator[FailureText]:
        """Failed attempts counted by debate, class, guard and text, in flat memory."""
        for row in self._stream(questions.failure_texts(debate, error_class)):
            known = {name: value for name, value in row._mapping.items() if name != "newest"}
            guard = Guard(row.guard) if row.guard else None
            yield FailureText(**{**known, "error_class": ErrorClass(row.error_class), "guard": guard})

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with said_in_words(self._path), self._engine.connect() as connection, connection.begin():
            yield connection

    def _all(self, question: Executable) -> Sequence[Row[Any]]:
        with self._snapshot() as connection:
            return connection.execute(question).all()

    def _stream(self, question: Executable) -> Iterator[Row[Any]]:
        with self._snapshot() as connection:
            yield from connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(question)


def _rate(row: Row[Any]) -> dict[str, Any]:
    """The columns that `TurnRate` and `LoadRate` take as they are."""
    other = ("id", "run_id", "measured_at", "role")
    return {name: value for name, value in row._mapping.items() if name not in other}


def _actuals(run: Row[Any], turns_at: Mapping[_Place, int], loads_at: Mapping[_Place, int]) -> list[Actual]:
    places = sorted(place for place in turns_at.keys() | loads_at.keys() if place[0] == run.id)
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    found = [
        Actual(endpoint=place[1], turns=turns_at.get(place, 0), loads=loads_at.get(place, 0), seconds=seconds)
        for place in places
    ]
    spoken, loaded = sum(row.turns for row in found), sum(row.loads for row in found)
    return [Actual(endpoint="", turns=spoken, loads=loaded, seconds=seconds), *found]


def _step(row: Row[Any]) -> Step | None:
    if row.next_role is None:
        return None
    return Step(role=Role(row.next_role), round=row.next_round, model=row.next_model)


def _verdict(row: Row[Any]) -> Verdict | None:
    if row.score is None:
        return None
    return Verdict(score=row.score, label=row.label, flags=tuple(map(Flag, words_of(row.flags))))


def _step_count(row: Any) -> StepCount:
    return StepCount(
        debate=row.debate,
        digest=Digest(row.digest),
        step=Step(role=Role(row.next_role), round=row.next_round, model=row.next_model),
        fresh=bool(row.fresh),
        priority=row.priority,
        home=row.home,
        count=row.tasks,
    )
