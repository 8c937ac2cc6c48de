"""What the store in memory holds: frozen rows in plain dicts, a journal to undo with, and the queues."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from orchestrator.domain import (
    Attempt,
    Digest,
    Payload,
    RunId,
    RunStatus,
    Step,
    Swap,
    TaskId,
    TaskStatus,
    Token,
    Turn,
    Verdict,
)
from orchestrator.errors import ErrorClass
from orchestrator.measures import Prediction
from orchestrator.store.outcomes import CLOCK_SLACK
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns

K = TypeVar("K")
V = TypeVar("V")
Lane = tuple[Digest, str, bool, str]  # and the home
_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One revision of a record."""

    job_id: int
    source: str
    key: str
    revision: int
    payload: Payload
    payload_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task; the columns of the table `tasks`."""

    task_id: TaskId
    job_id: int
    debate: str
    digest: Digest
    status: TaskStatus
    step: Step | None
    fresh: bool
    home: str
    priority: int
    attempts: int
    token: Token
    run_id: RunId | None
    endpoint: str | None
    leased_until: datetime | None
    not_before: datetime | None
    error_class: ErrorClass | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """An invocation; the columns that anybody asks for."""

    lock: str
    status: RunStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """What an endpoint has loaded, and until when whose swap is reserved."""

    loaded: tuple[str, ...]
    version: int
    run_id: RunId | None
    swap_until: datetime | None


class State:
    """The tables. All writes go through `put` and `put_task`, so that `undo` can take them back."""

    def __init__(self) -> None:
        """Nothing stored yet."""
        self.jobs: dict[int, JobRow] = {}
        self.revisions: dict[tuple[str, str], tuple[int, ...]] = {}  # source and key -> jobs, oldest first
        self.tasks: dict[TaskId, TaskRow] = {}
        self.of_job: dict[int, tuple[TaskId, ...]] = {}
        self.turns: dict[TaskId, tuple[tuple[Token, Turn], ...]] = {}
        self.attempts: dict[TaskId, tuple[tuple[Token, Attempt], ...]] = {}
        self.verdicts: dict[TaskId, Verdict] = {}
        self.runs: dict[RunId, RunRow] = {}
        self.endpoints: dict[str, EndpointRow] = {}
        self.swaps: dict[int, tuple[RunId, Swap]] = {}
        self.turn_rates: dict[int, MeasuredTurns] = {}
        self.load_rates: dict[int, MeasuredLoads] = {}
        self.predictions: dict[tuple[RunId, str], Prediction] = {}
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self._forget_queues()

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Write a row."""
        self._journal.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def put_task(self, row: TaskRow) -> None:
        """Write a task, and queue it where it now belongs."""
        before = self.tasks.get(row.task_id)
        if before is not None:
            self._leave(before)
        self.put(self.tasks, row.task_id, row)
        self._enter(row)

    def commit(self) -> None:
        """Keep what was written."""
        self._journal.clear()

    def undo(self) -> None:
        """Take back what was written since the last commit."""
        for table, key, value in reversed(self._journal):
            if value is _MISSING:
                del table[key]
            else:
                table[key] = value
        self._journal.clear()
        self._forget_queues()
        for row in self.tasks.values():
            self._enter(row)

    def queue(self, lane: Lane) -> Iterator[TaskRow]:
        """Pending tasks of a lane, highest priority first, then oldest; also those that are backing off."""
        return (self.tasks[task_id] for _, task_id in self.lanes.get(lane, ()))

    def leased(self) -> list[TaskRow]:
        """Tasks under lease, oldest first."""
        return [self.tasks[task_id] for task_id in sorted(self._leased)]

    def newest(self, source: str, key: str) -> JobRow | None:
        """The newest revision of a record."""
        jobs = self.revisions.get((source, key))
        return self.jobs[jobs[-1]] if jobs else None

    def tasks_of(self, job_id: int, debate: str) -> list[TaskRow]:
        """The tasks of one revision in a debate."""
        rows = (self.tasks[task_id] for task_id in self.of_job.get(job_id, ()))
        return [row for row in rows if row.debate == debate]

    def _forget_queues(self) -> None:
        self.lanes: dict[Lane, list[tuple[int, TaskId]]] = {}
        self._leased: set[TaskId] = set()

    def _enter(self, row: TaskRow) -> None:
        if row.status is TaskStatus.LEASED:
            self._leased.add(row.task_id)
        elif row.status is TaskStatus.PENDING:
            insort(self.lanes.setdefault(lane_of(row), []), (-row.priority, row.task_id))

    def _leave(self, row: TaskRow) -> None:
        self._leased.discard(row.task_id)
        if row.status is TaskStatus.PENDING:
            lane = self.lanes[lane_of(row)]
            del lane[bisect_left(lane, (-row.priority, row.task_id))]


def backs_off(row: TaskRow, now: datetime) -> bool:
    """Whether a pending task may not be claimed yet."""
    return row.not_before is not None and row.not_before > now and row.updated_at <= now + CLOCK_SLACK


def lane_of(row: TaskRow) -> Lane:
    """Where a pending task waits."""
    return row.digest, step_of(row).model, row.fresh, row.home


def step_of(row: TaskRow) -> Step:
    """Who speaks next for a task that is not done."""
    if row.step is None:
        raise ValueError(f"task {row.task_id} is {row.status}: nobody speaks next")
    return row.step
