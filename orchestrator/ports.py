"""What the inside needs from the outside: a store of tasks, endpoints that speak, a clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from orchestrator.domain import (
    Backend,
    Claim,
    Digest,
    Failed,
    JobDraft,
    Resident,
    RunId,
    RunStatus,
    Spoken,
    Step,
    Submission,
    Submitted,
    Swap,
    TaskId,
    TaskStatus,
    Token,
    Usage,
    Waiting,
)
from orchestrator.measures import LoadRate, ModelFile, Prediction, Pressure, TurnRate


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let others run for that long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """All that an actor's card says about how its model is run; always sent explicitly.

    `context` and `reply_limit` are tokens; `timeout_s` bounds one call. The fallbacks are what to take where memory
    runs out: a smaller context, another model; 0 and "" for none.
    """

    temperature: float
    seed: int
    context: int
    reply_limit: int
    timeout_s: float
    fallback_context: int = 0
    fallback_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One chat message; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a model: messages in, text that keeps to `schema` out."""

    model: str
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]  # JSON schema of the reply
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete reply: the server said that it ended by itself. `model` and `context` are set if not as asked."""

    text: str
    usage: Usage
    thinking: str = ""  # what a reasoning model wrote apart from its reply
    model: str = ""  # who spoke, for want of memory for who was asked
    context: int = 0  # tokens that there was memory for, if fewer than were asked for


class Endpoint(Protocol):
    """One server address that runs models. Errors are those of `EndpointError` and its children."""

    name: str
    backend: Backend

    async def available(self) -> frozenset[str] | None:
        """The models it could serve; None if it cannot tell."""
        ...

    async def loaded(self) -> frozenset[str]:
        """The models it answers with at once, without loading."""
        ...

    async def files(self) -> Mapping[str, ModelFile]:
        """What it tells of its models' files, by model; nothing for a model it tells nothing of."""
        ...

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """The file that each of these models' weights lie in; nothing for a model it tells nothing of."""
        ...

    async def pressure(self) -> Pressure | None:
        """How many requests it works on and how many wait; None if it cannot tell."""
        ...

    async def load(self, model: str, sampling: Sampling) -> None:
        """Return when the model answers at once. Only called on an endpoint with nothing in flight."""
        ...

    async def unload(self, model: str) -> None:
        """Return when the model has gone. Only called on an endpoint with nothing in flight."""
        ...

    async def speak(self, request: Request) -> Reply:
        """One call of a loaded model."""
        ...

    async def close(self) -> None:
        """Give back connections, and models that live in this process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Which tasks to claim, for whom, and until when the lease lasts.

    Attributes:
        fresh: claim tasks for which nothing has been said yet, or those already begun.
        mine: only tasks that this run was the last to hold (a run that may begin no more tasks).
        home: only tasks that this endpoint should speak; "" for those that any may speak.
        resident: the endpoint's version the caller works under; the claim finds nothing if it has moved on.
            None where an endpoint holds all of its models and no run needs to agree with another.
    """

    run_id: RunId
    endpoint: str
    digest: Digest
    model: str
    limit: int
    now: datetime
    leased_until: datetime
    fresh: bool
    mine: bool = False
    home: str = ""
    resident: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What is known of a run when it begins; `lock` names the file whose lock it holds while alive.

    `max_workers` 0 means that it finds out.
    """

    host: str
    pid: int
    lock: str
    max_workers: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """A task as the store has it, without its turns."""

    task_id: TaskId
    key: str
    debate: str
    digest: Digest
    status: TaskStatus
    step: Step | None  # who speaks next; None once it is done
    attempts: int  # tries at `step` so far
    token: Token
    turns: int
    verdict: tuple[int, str] | None  # score and label


class TaskStore(Protocol):
    """The task table. Each verb is one transaction; inside `batch()` several share one.

    Writes under a token that is no longer the task's return False and change nothing.
    All errors are `StoreError`.
    """

    def batch(self) -> AbstractContextManager[None]:
        """One transaction around several verbs; an exception undoes all of them."""
        ...

    def submit(self, submission: Submission, drafts: Sequence[JobDraft], now: datetime) -> Submitted:
        """Add jobs that are new, and a pending task for each. Known keys with the same payload change nothing."""
        ...

    def supersede(self, debate: str, digest: Digest, first: Step, now: datetime) -> int:
        """Replace pending tasks of other digests by pending tasks of this one; how many were replaced."""
        ...

    def begin_run(self, start: RunStart) -> RunId:
        """A new run, status running."""
        ...

    def end_run(self, run_id: RunId, status: RunStatus, now: datetime, reason: str = "") -> None:
        """Close a run; tasks it still holds go back to pending, their attempt uncounted."""
        ...

    def note_run(self, run_id: RunId, reason: str) -> None:
        """Say of a run that goes on what holds it up; "" for nothing. Nothing happens if it has ended."""
        ...

    def running(self) -> Mapping[RunId, str]:
        """Runs not ended yet, each with its lock file's name."""
        ...

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Take up to `limit` pending tasks that want the model, highest priority first, then oldest.

        Each claim counts as an attempt before anything is said. A task whose worker died at its last two attempts is
        claimed only where there is no other, by itself, and while the run holds nothing else.
        """
        ...

    def renew(self, run_id: RunId, leased_until: datetime) -> int:
        """Extend every lease of a run, and its reservation of a swap; how many leases."""
        ...

    def record(self, spoken: Spoken, now: datetime) -> bool:
        """Turn, task and, if it is the judge's, verdict: together. With `hold`, the next attempt is counted."""
        ...

    def fail(self, failed: Failed, now: datetime) -> bool:
        """Keep a failed attempt; the task waits until `retry_at`, or is failed."""
        ...

    def release(self, task_id: TaskId, token: Token, now: datetime) -> bool:
        """Give a claim back unspoken; its attempt does not count."""
        ...

    def rescue(self, now: datetime, max_attempts: int, dead: Iterable[RunId] = ()) -> int:
        """Put back tasks whose lease has run out or whose run is dead, as attempts of class lost; how many tasks.

        One that has used `max_attempts`, and was claimed alone, so that it died of itself, fails. Dead runs are lost.
        """
        ...

    def waiting(self, digests: Sequence[Digest], now: datetime, held_by: RunId | None = None) -> list[Waiting]:
        """Pending turns by digest, step, priority and home; with `held_by`, what that run held last."""
        ...

    def leave(self, endpoints: Sequence[str], now: datetime) -> int:
        """Let any endpoint speak the pending turns whose home is none of these; how many."""
        ...

    def keep_rates(
        self, run_id: RunId | None, turns: Sequence[TurnRate], loads: Sequence[LoadRate], now: datetime
    ) -> None:
        """Keep what was measured by a run, or by a probe of no run."""
        ...

    def keep_predictions(self, run_id: RunId, predictions: Sequence[Prediction]) -> None:
        """Keep what was said of a run before it began."""
        ...

    def leased(self, endpoint: str) -> int:
        """Tasks under lease on that endpoint, by any run."""
        ...

    def resident(self, endpoint: str, now: datetime) -> Resident:
        """What the runs agreed is loaded there; nothing, version 0, for an endpoint never seen."""
        ...

    def begin_swap(self, run_id: RunId, seen: Resident, until: datetime, now: datetime) -> int | None:
        """Reserve a swap, if nothing moved since `seen` and no task is leased there: its version for `end_swap`."""
        ...

    def end_swap(self, run_id: RunId, version: int, loaded: Sequence[str], swap: Swap | None, endpoint: str) -> bool:
        """Say what is loaded now, and keep the swap; False if the reservation was lost."""
        ...

    def keep_swap(self, run_id: RunId, swap: Swap) -> None:
        """Keep a load on an endpoint where nothing had to be agreed."""
        ...

    def tasks(self) -> Iterable[TaskState]:
        """Every task, in order of its number."""
        ...
