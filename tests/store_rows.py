"""Small jobs, claims and turns for the tests of the stores; times are seconds after one fixed moment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.domain import (
    Attempt,
    Backend,
    Claim,
    Digest,
    Failed,
    JobDraft,
    Quote,
    Role,
    RunId,
    Spoken,
    Step,
    Submission,
    TaskId,
    Turn,
    Usage,
    Verdict,
)
from orchestrator.errors import ErrorClass
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.ports import ClaimRequest, RunStart
from orchestrator.store import schema
from orchestrator.store.memory import MemoryTaskStore
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns
from orchestrator.store.tasks import SqlTaskStore

Store = SqlTaskStore | MemoryTaskStore

MIGRATIONS = Path(__file__).parents[1] / "migrations"
DIGEST = Digest("digest-a")
OTHER = Digest("digest-b")
ENDPOINT = "http://127.0.0.1:11434"
FIRST = Step(role=Role.ADVOCATE, round=1, model="qwen")
SECOND = Step(role=Role.CRITIC, round=1, model="gemma")
LAST = Step(role=Role.JUDGE, round=1, model="qwen")
VERDICT = Verdict(score=7, label="apply")
_KEPT = TemporaryDirectory(prefix="store-rows-")


def at(seconds: float) -> datetime:
    return datetime(2026, 11, 21, 10, 50, tzinfo=UTC) + timedelta(seconds=seconds)


@cache
def _template() -> Path:
    path = Path(_KEPT.name) / "empty.db"
    schema.upgrade(path, MIGRATIONS)
    return path


def empty_database(path: Path) -> Path:
    """A copy of a database made by the migrations once."""
    shutil.copy(_template(), path)
    return path


def submission(**changes: Any) -> Submission:
    usual: dict[str, Any] = {"source": "jobs.jsonl", "debate": "jobs", "digest": DIGEST, "first": FIRST}
    return Submission(**usual | changes)


def drafts(*keys: str, **payload: Any) -> list[JobDraft]:
    return [JobDraft(key=key, payload={"title": f"title of {key}", **payload}) for key in keys]


def begin(store: Store, lock: str = "run.lock") -> RunId:
    return store.begin_run(RunStart(host="here", pid=1, lock=lock, max_workers=4, started_at=at(0)))


def request(run_id: RunId, **changes: Any) -> ClaimRequest:
    usual: dict[str, Any] = {
        "run_id": run_id,
        "endpoint": ENDPOINT,
        "digest": DIGEST,
        "model": FIRST.model,
        "limit": 1,
        "now": at(0),
        "leased_until": at(60),
        "fresh": True,
    }
    return ClaimRequest(**usual | changes)


def turn(step: Step = FIRST, **changes: Any) -> Turn:
    reply: dict[str, Any] = {"analysis": "good", "evidence": ["a", "b"]}
    if step == LAST:
        reply["verdict_score"] = VERDICT.score
    usual: dict[str, Any] = {
        "role": step.role,
        "round": step.round,
        "model": step.model,
        "backend": Backend.OLLAMA,
        "endpoint": ENDPOINT,
        "text": json.dumps(reply),
        "reply": reply,
        "quotes": (Quote(text="a", verified=True), Quote(text="b", verified=False)),
        "prompt_hash": "0" * 64,
        "asks": 1,
        "attempt": 1,
        "usage": Usage(prompt_tokens=900, cached_tokens=600, reply_tokens=100, reply_s=1.5, total_s=2.0),
        "started_at": at(1),
        "finished_at": at(3),
    }
    return Turn(**usual | changes)


def spoken(claim: Claim, step: Step = FIRST, **changes: Any) -> Spoken:
    if not changes.keys() & {"then", "verdict"}:
        changes["then"] = SECOND
    said = changes.pop("turn", turn(step))
    return Spoken(task_id=claim.task_id, token=claim.token, turn=said, **changes)


def failed(claim: Claim, retry_at: datetime | None = None, **changes: Any) -> Failed:
    kept: dict[str, Any] = {"error_class": ErrorClass.TRANSIENT, "error": "connection reset", "reply": ""} | changes
    counted = kept.pop("counted", True)
    attempt = Attempt(
        step=claim.step,
        attempt=claim.attempt,
        endpoint=ENDPOINT,
        started_at=at(1),
        finished_at=at(2),
        **kept,
    )
    return Failed(
        task_id=claim.task_id,
        token=claim.token,
        attempt=attempt,
        retry_at=retry_at,
        counted=bool(counted),
    )


def turn_rate(**changes: Any) -> TurnRate:
    usual: dict[str, Any] = {
        "endpoint": ENDPOINT,
        "model": FIRST.model,
        "model_digest": "sha256:1",
        "options": "context=8192",
        "role": FIRST.role,
        "in_flight": 4,
        "turns": 10,
        "seconds": 25.0,
        "squares": 70.0,
        "prompt_tokens": 9_000,
        "cached_tokens": 6_000,
        "reply_tokens": 1_000,
    }
    return TurnRate(**usual | changes)


def load_rate(**changes: Any) -> LoadRate:
    usual: dict[str, Any] = {"endpoint": ENDPOINT, "model": FIRST.model, "model_digest": "sha256:1"}
    return LoadRate(**usual | {"loads": 2, "seconds": 7.5} | changes)


def prediction(endpoint: str = "", **changes: Any) -> Prediction:
    usual: dict[str, Any] = {"turns": 30, "loads": 2, "seconds": 60.0, "low": 50.0, "high": 80.0, "first_verdict": 9.0}
    return Prediction(endpoint=endpoint, **usual | changes)


def claim_one(store: Store, run_id: RunId, **changes: Any) -> Claim:
    (claim,) = store.claim(request(run_id, **changes))
    return claim


def finish(store: Store, run_id: RunId) -> Claim:
    """Speak all three turns of the next fresh task, holding it throughout."""
    claim = claim_one(store, run_id)
    assert store.record(spoken(claim, then=SECOND, hold=True), at(3))
    assert store.record(spoken(claim, SECOND, then=LAST, hold=True), at(6))
    assert store.record(spoken(claim, LAST, verdict=VERDICT), at(9))
    return claim


def turns_of(store: Store, key: str) -> tuple[Turn, ...]:
    """The turns of a record's newest task."""
    if isinstance(store, MemoryTaskStore):
        return store.turns(_newest(store, key))
    with Reading(store.path) as reading:
        return reading.find(key)[0].turns


def attempts_of(store: Store, key: str) -> tuple[Attempt, ...]:
    """The failed attempts of a record's newest task."""
    if isinstance(store, MemoryTaskStore):
        return store.attempts(_newest(store, key))
    with Reading(store.path) as reading:
        return reading.find(key)[0].attempts


def rates_of(store: Store) -> tuple[list[MeasuredTurns], list[MeasuredLoads]]:
    """All that was measured."""
    if isinstance(store, MemoryTaskStore):
        return store.rates()
    with Reading(store.path) as reading:
        return reading.rates()


def run_reason(store: Store, run_id: RunId) -> str:
    """Why a run ended, or what holds it up."""
    if isinstance(store, MemoryTaskStore):
        return store.reason(run_id)
    with Reading(store.path) as reading:
        return next(run.reason for run in reading.runs() if run.run_id == run_id)


def predictions_of(store: Store, run_id: RunId) -> list[Prediction]:
    """What was said of a run before it began."""
    if isinstance(store, MemoryTaskStore):
        return store.predictions(run_id)
    with Reading(store.path) as reading:
        return reading.predictions([run_id])[run_id]


def _newest(store: Store, key: str) -> TaskId:
    return max(task.task_id for task in store.tasks() if task.key == key)


def statuses(store: Store) -> list[str]:
    return [task.status.value for task in store.tasks()]


def keys_of(claims: Sequence[Claim]) -> list[str]:
    return [claim.key for claim in claims]
