"""What `Reading` answers with: plain frozen values. Times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain import (
    Attempt,
    Digest,
    Flag,
    Payload,
    Role,
    RunId,
    RunStatus,
    Step,
    TaskId,
    TaskStatus,
    Turn,
    Verdict,
)
from orchestrator.errors import ErrorClass, Guard
from orchestrator.measures import LoadRate, TurnRate


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """Tasks of one debate and digest in one status."""

    debate: str
    digest: Digest
    status: TaskStatus
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCount:
    """Verdicts with one label."""

    debate: str
    digest: Digest
    label: str
    count: int
    mean_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often one class of error happened in a debate."""

    debate: str
    error_class: ErrorClass
    tasks: int  # failed for good, with this class last
    attempts: int  # failed attempts, those of tasks that went on included


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run and what came of it."""

    run_id: RunId
    host: str
    pid: int
    lock: str
    max_workers: int
    status: RunStatus
    reason: str
    started_at: datetime
    ended_at: datetime | None
    turns: int
    verdicts: int
    failed_attempts: int
    swaps: int
    swap_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadCount:
    """How often a run had to wait for a model that was loaded and was loaded again unasked."""

    run_id: RunId
    endpoint: str
    model: str
    count: int
    seconds: float  # together


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakingRow:
    """Tasks leased on one endpoint by one run for one role."""

    endpoint: str
    run_id: RunId
    debate: str
    role: Role
    model: str
    count: int
    since: datetime  # when the oldest of them was claimed
    leased_until: datetime  # when the first of them runs out


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail:
    """All that is known of a task."""

    task_id: TaskId
    source: str
    key: str
    revision: int
    payload: Payload
    debate: str
    digest: Digest
    status: TaskStatus
    step: Step | None  # who speaks next
    tries: int  # at that step
    error_class: ErrorClass | None
    not_before: datetime | None
    created_at: datetime
    finished_at: datetime | None
    turns: tuple[Turn, ...]  # in order of speaking
    attempts: tuple[Attempt, ...]  # failed ones, oldest first
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One task that was not superseded. Without a verdict, score and label are None and the class says why."""

    task_id: TaskId
    source: str
    key: str
    revision: int
    debate: str
    digest: Digest
    status: TaskStatus
    score: int | None
    label: str | None
    flags: tuple[Flag, ...]
    error_class: ErrorClass | None
    analysis: str | None  # the judge's
    quotes_verified: int
    quotes_total: int
    backends: tuple[str, ...]
    judge_model: str | None
    turns: int
    finished_at: datetime | None
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """One failed attempt, and where its task stands today."""

    task_id: TaskId
    source: str
    key: str
    debate: str
    status: TaskStatus
    role: Role
    round: int
    model: str
    endpoint: str
    attempt: int
    error_class: ErrorClass
    guard: Guard | None  # the check that refused the reply, if one did
    error: str
    asks: int  # calls of the model that it took
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureText:
    """Failed attempts of one debate, class and guard with the same text; `key` and `at` are the newest one's."""

    debate: str
    error_class: ErrorClass
    guard: Guard | None
    error: str
    attempts: int
    key: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMeans:
    """Means over the turns of one role with one model; None where no server told."""

    debate: str
    role: Role
    model: str
    turns: int
    prompt_tokens: float | None
    reply_tokens: float | None
    seconds: float  # of one turn, from our side of the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCount:
    """Pending turns of one step at one priority; those that are backing off included."""

    debate: str
    digest: Digest
    step: Step
    fresh: bool  # the first of their task
    priority: int
    home: str  # endpoint that should speak them; "" any may
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSteps:
    """Turns under lease by one run; `lock` names the file whose lock it holds while alive."""

    run_id: RunId
    lock: str
    steps: StepCount


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTurns:
    """What turns took, and who measured it when; `run_id` is None for a probe of no run."""

    rate: TurnRate
    run_id: RunId | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLoads:
    """What loads took, and who measured it when; `run_id` is None for a probe of no run."""

    rate: LoadRate
    run_id: RunId | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """What came of a prediction; as there, `endpoint` "" is the run as a whole."""

    endpoint: str
    turns: int
    loads: int
    seconds: float | None  # from the run's beginning to its end; None while it goes on
