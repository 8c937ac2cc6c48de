"""Asks the `questions` about a database while a run writes to it: each answer is one snapshot; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Executable, Row

from orchestrator.domain import Attempt, Flag, JobDraft, RunId, Step, Turn, Verdict
from orchestrator.errors import ErrorClass
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.store import doubts, questions
from orchestrator.store.codec import json_text, object_of, texts_of, word_of, words_of
from orchestrator.store.doubts import Doubts
from orchestrator.store.engine import connect_to_read, reader_engine, said_in_words
from orchestrator.store.made import made, text_in
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

Value = TypeVar("Value")

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
        return self._all(questions.COUNTS, _as(StatusCount, count="tasks"))

    def labels(self) -> list[LabelCount]:
        """Verdicts by debate, digest and label, lowest scores first."""
        return self._all(questions.LABELS, _as(LabelCount, count="tasks", mean_score="mean"))

    def pending(self, debate: str, limit: int) -> list[JobDraft]:
        """The records that would be claimed next."""
        question = questions.pending(debate, limit)
        return self._all(question, lambda row: JobDraft(key=text_in(row.key), payload=object_of(row.payload)))

    def failures(self) -> list[FailureCount]:
        """Failed tasks and failed attempts by debate and class of error, the most tasks first."""
        with self._snapshot() as connection:
            failed = {(row.debate, row.error_class): row.tasks for row in connection.execute(questions.FAILED_TASKS)}
            tried = {(row.debate, row.error_class): row.tries for row in connection.execute(questions.FAILED_ATTEMPTS)}
            counts = [
                FailureCount(
                    debate=text_in(debate),
                    error_class=word_of(ErrorClass, word),
                    tasks=failed.get((debate, word), 0),
                    attempts=tried.get((debate, word), 0),
                )
                for debate, word in failed.keys() | tried.keys()
            ]
        return sorted(counts, key=lambda count: (count.debate, -count.tasks, -count.attempts, count.error_class))

    def waiting_steps(self) -> list[StepCount]:
        """Pending turns by debate, digest, step, priority and home."""
        return self._all(questions.WAITING_STEPS, _step_count)

    def held_steps(self) -> list[HeldSteps]:
        """Turns under lease, by the run that holds them, as `waiting_steps`."""
        return self._all(questions.HELD_STEPS, lambda row: made(HeldSteps, {**row._mapping, "steps": _step_count(row)}))

    def residents(self) -> dict[str, tuple[str, ...]]:
        """What the runs agreed that each endpoint has loaded, by its name."""
        return dict(self._all(questions.RESIDENTS, lambda row: (text_in(row.name), texts_of(row.loaded))))

    def rates(self, runs: int = 5) -> tuple[list[MeasuredTurns], list[MeasuredLoads]]:
        """What the newest runs and probes measured of each model on each endpoint, newest first."""
        spoken = self._all(questions.rates_of(turn_rates, runs), partial(_measured, MeasuredTurns, TurnRate))
        loaded = self._all(questions.rates_of(load_rates, runs), partial(_measured, MeasuredLoads, LoadRate))
        return spoken, loaded

    def predictions(self, run_ids: Sequence[RunId]) -> dict[RunId, list[Prediction]]:
        """What was said of each of these runs before it began, of the whole run first; nothing for some."""
        said: dict[RunId, list[Prediction]] = {run_id: [] for run_id in run_ids}
        question = questions.predictions_of(run_ids)
        for run_id, prediction in self._all(question, lambda row: (RunId(row.run_id), made(Prediction, row._mapping))):
            said[run_id].append(prediction)
        return said

    def actuals(self, run_ids: Sequence[RunId]) -> dict[RunId, list[Actual]]:
        """What became of each of these runs, of the whole run first; nothing for a run that is not there."""
        with self._snapshot() as connection:
            rows = [
                {(row.run_id, text_in(row.endpoint)): row.rows for row in connection.execute(question)}
                for question in (questions.by_endpoint(turns, run_ids), questions.by_endpoint(swaps, run_ids))
            ]
            times = connection.execute(questions.times_of(run_ids)).all()
        return {run_id: [] for run_id in run_ids} | {RunId(row.id): _actuals(row, *rows) for row in times}

    def reloads(self, run_ids: Sequence[RunId]) -> list[ReloadCount]:
        """Loads that nobody asked for, by run, endpoint and model."""
        return self._all(questions.reloads_of(run_ids), _as(ReloadCount, model="loaded", count="loads"))

    def runs(self, limit: int = 20) -> list[RunRow]:
        """The newest runs, newest first, and what came of them."""
        return self._all(questions.runs_of(limit), _as(RunRow))

    def doubts(self, run_ids: Sequence[RunId]) -> Doubts:
        """What to look at before believing the verdicts; constant judges are those of these runs."""
        with self._snapshot() as connection:
            return doubts.found(connection, run_ids)

    def speaking(self) -> list[SpeakingRow]:
        """Tasks under lease now, by endpoint, run and role."""
        return self._all(questions.SPEAKING, _as(SpeakingRow))

    def tokens(self, debate: str | None = None) -> list[TokenMeans]:
        """Mean tokens and seconds of the turns by debate, role and model."""
        return self._all(questions.tokens(debate), _as(TokenMeans))

    def find(self, key: str, debate: str | None = None) -> list[TaskDetail]:
        """Every task of a record, newest first; empty for a key that is not there."""
        with self._snapshot() as connection:
            rows = connection.execute(questions.find(key, debate)).all()
            ids = {"ids": json_text([row.task_id for row in rows])}
            spoken = turns_by_task(connection.exec_driver_sql(TURNS.sql, TURNS.bind(ids)).mappings())
            attempts = attempts_by_task(connection.exec_driver_sql(ATTEMPTS.sql, ATTEMPTS.bind(ids)).mappings())
            return [_detail(row, spoken.get(row.task_id, ()), attempts.get(row.task_id, ())) for row in rows]

    def verdicts(self, debate: str | None = None, *, include_unfinished: bool = True) -> Iterator[VerdictRow]:
        """Every task that was not superseded, in order of its number, from one snapshot and in flat memory."""
        return self._stream(questions.verdicts_of(debate, include_unfinished=include_unfinished), _verdict_row)

    def errors(
        self, debate: str | None = None, error_class: ErrorClass | None = None, limit: int | None = None
    ) -> Iterator[FailedRow]:
        """Failed attempts, newest first; all of them without a limit."""
        question = questions.errors(debate, error_class, limit)
        return self._stream(question, lambda row: made(FailedRow, {**row._mapping, "guard": row.guard or None}))

    def failure_texts(self, debate: str | None = None, error_class: ErrorClass | None = None) -> Iterator[FailureText]:
        """Failed attempts counted by debate, class, guard and text, in flat memory."""
        question = questions.failure_texts(debate, error_class)
        return self._stream(question, lambda row: made(FailureText, {**row._mapping, "guard": row.guard or None}))

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with said_in_words(self._path), self._engine.connect() as connection, connection.begin():
            yield connection

    def _all(self, question: Executable, make: Callable[[Row[Any]], Value]) -> list[Value]:
        with self._snapshot() as connection:
            return [make(row) for row in connection.execute(question)]

    def _stream(self, question: Executable, make: Callable[[Row[Any]], Value]) -> Iterator[Value]:
        with self._snapshot() as connection:
            yield from map(make, connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(question))


def _as(kind: type[Value], **named: str) -> Callable[[Row[Any]], Value]:
    """How to make a value of a row whose columns are its fields, but for those `named` after another column."""

    def _made(row: Row[Any]) -> Value:
        columns = row._mapping
        return made(kind, {**columns, **{name: columns[column] for name, column in named.items()}})

    return _made


def _measured(kind: type[Value], rate: type[TurnRate] | type[LoadRate], row: Row[Any]) -> Value:
    return made(kind, {"rate": made(rate, row._mapping), "run_id": row.run_id, "at": row.measured_at})


def _actuals(run: Row[Any], turns_at: Mapping[_Place, int], loads_at: Mapping[_Place, int]) -> list[Actual]:
    places = sorted(place for place in turns_at.keys() | loads_at.keys() if place[0] == run.id)
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    found = [
        Actual(endpoint=place[1], turns=turns_at.get(place, 0), loads=loads_at.get(place, 0), seconds=seconds)
        for place in places
    ]
    spoken, loaded = sum(row.turns for row in found), sum(row.loads for row in found)
    return [Actual(endpoint="", turns=spoken, loads=loaded, seconds=seconds), *found]


def _detail(row: Row[Any], spoken: tuple[Turn, ...], attempts: tuple[Attempt, ...]) -> TaskDetail:
    composed = {
        "payload": object_of(row.payload),
        "step": None if row.next_role is None else _step(row),
        "tries": row.attempts,
        "turns": spoken,
        "attempts": attempts,
        "verdict": None if row.score is None else made(Verdict, {**row._mapping, "flags": _flags(row.flags)}),
    }
    return made(TaskDetail, {**row._mapping, **composed})


def _verdict_row(row: Row[Any]) -> VerdictRow:
    composed = {
        "flags": _flags(row.flags or ""),
        "backends": tuple(sorted(row.backends.split(","))) if row.backends else (),
        "payload": object_of(row.payload),
    }
    return made(VerdictRow, {**row._mapping, **composed})


def _flags(text: str) -> tuple[Flag, ...]:
    return tuple(word_of(Flag, word) for word in words_of(text))


def _step(row: Row[Any]) -> Step:
    return made(Step, {"role": row.next_role, "round": row.next_round, "model": row.next_model})


def _step_count(row: Row[Any]) -> StepCount:
    composed = {"step": _step(row), "fresh": bool(row.fresh), "count": row.tasks}
    return made(StepCount, {**row._mapping, **composed})
