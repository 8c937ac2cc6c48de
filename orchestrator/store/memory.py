"""The task table in memory: for dry runs, rehearsals and tests; it keeps every promise but durability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import (
    Attempt,
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
    Token,
    Turn,
    Waiting,
)
from orchestrator.errors import ErrorClass
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.ports import ClaimRequest, RunStart, TaskState
from orchestrator.store import memory_claims, memory_intake, memory_moves, memory_runs
from orchestrator.store.memory_state import RunRow, State
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns


class MemoryTaskStore:
    """`ports.TaskStore` in plain dicts; one thread at a time. The verbs are described there."""

    def __init__(self) -> None:
        """An empty task table."""
        self._state = State()
        self._begun = False

    def close(self) -> None:
        """Nothing to give back; here so that both stores end the same way."""

    def turns(self, task_id: TaskId) -> tuple[Turn, ...]:
        """The turns of a task, in order of speaking."""
        return tuple(turn for _, turn in self._state.turns.get(task_id, ()))

    def attempts(self, task_id: TaskId) -> tuple[Attempt, ...]:
        """The failed attempts of a task, in order."""
        return tuple(attempt for _, attempt in self._state.attempts.get(task_id, ()))

    def rates(self) -> tuple[list[MeasuredTurns], list[MeasuredLoads]]:
        """All that was measured, oldest first."""
        return list(self._state.turn_rates.values()), list(self._state.load_rates.values())

    def predictions(self, run_id: RunId) -> list[Prediction]:
        """What was said of a run before it began, by endpoint."""
        return [said for (about, _), said in sorted(self._state.predictions.items()) if about == run_id]

    def reason(self, run_id: RunId) -> str:
        """Why a run ended, or what holds it up."""
        return self._state.runs[run_id].reason

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction around several verbs."""
        if self._begun:
            yield
            return
        self._begun = True
        try:
            yield
        except BaseException:
            self._state.undo()
            raise
        finally:
            self._state.commit()
            self._begun = False

    def submit(self, submission: Submission, drafts: Sequence[JobDraft], now: datetime) -> Submitted:
        """Add jobs that are new, and a pending task for each."""
        with self.batch():
            return memory_intake.submit(self._state, submission, drafts, now)

    def supersede(self, debate: str, digest: Digest, first: Step, now: datetime) -> int:
        """Replace pending tasks of other digests by pending tasks of this one."""
        with self.batch():
            return memory_intake.supersede(self._state, debate, digest, first, now)

    def begin_run(self, start: RunStart) -> RunId:
        """Begin a run."""
        with self.batch():
            run_id = RunId(len(self._state.runs) + 1)
            self._state.put(self._state.runs, run_id, RunRow(lock=start.lock, status=RunStatus.RUNNING, reason=""))
            return run_id

    def end_run(self, run_id: RunId, status: RunStatus, now: datetime, reason: str = "") -> None:
        """Close a run; nothing if it has ended already."""
        with self.batch():
            memory_runs.end_run(self._state, run_id, status, now, reason)

    def note_run(self, run_id: RunId, reason: str) -> None:
        """Say what holds a run up."""
        with self.batch():
            memory_runs.note_run(self._state, run_id, reason)

    def running(self) -> Mapping[RunId, str]:
        """Runs not ended yet."""
        return {run_id: run.lock for run_id, run in self._state.runs.items() if run.status is RunStatus.RUNNING}

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Take pending tasks."""
        with self.batch():
            return memory_claims.claim(self._state, request)

    def renew(self, run_id: RunId, leased_until: datetime) -> int:
        """Extend every lease of a run."""
        held = [row for row in self._state.leased() if row.run_id == run_id]
        with self.batch():
            for row in held:
                self._state.put_task(replace(row, leased_until=leased_until))
            memory_runs.renew_swaps(self._state, run_id, leased_until)
        return len(held)

    def record(self, spoken_turn: Spoken, now: datetime) -> bool:
        """Keep a finished turn."""
        with self.batch():
            return memory_claims.record(self._state, spoken_turn, now)

    def fail(self, failed: Failed, now: datetime) -> bool:
        """Keep a failed attempt."""
        with self.batch():
            return memory_claims.fail(self._state, failed, now)

    def release(self, task_id: TaskId, token: Token, now: datetime) -> bool:
        """Give a claim back unspoken."""
        with self.batch():
            return memory_claims.release(self._state, task_id, token, now)

    def rescue(self, now: datetime, max_attempts: int, dead: Iterable[RunId] = ()) -> int:
        """Put back what nobody speaks any more."""
        with self.batch():
            return memory_runs.rescue(self._state, now, max_attempts, dead)

    def retry(
        self,
        now: datetime,
        *,
        debate: str | None = None,
        keys: Sequence[str] | None = None,
        error_class: ErrorClass | None = None,
    ) -> int:
        """Failed and cancelled tasks wait again, their attempts forgotten; how many."""
        with self.batch():
            return memory_moves.retry(self._state, now, debate, keys, error_class)

    def cancel(self, now: datetime, *, debate: str | None = None, keys: Sequence[str] | None = None) -> int:
        """Pending and leased tasks are cancelled; how many."""
        with self.batch():
            return memory_moves.cancel(self._state, now, debate, keys)

    def waiting(self, digests: Sequence[Digest], now: datetime, held_by: RunId | None = None) -> list[Waiting]:
        """Pending turns by digest, step, priority and home."""
        return memory_moves.waiting(self._state, digests, now, held_by)

    def leave(self, endpoints: Sequence[str], now: datetime) -> int:
        """Let any endpoint speak what waits for one that is none of these."""
        with self.batch():
            return memory_moves.leave(self._state, endpoints, now)

    def keep_rates(
        self, run_id: RunId | None, turns: Sequence[TurnRate], loads: Sequence[LoadRate], now: datetime
    ) -> None:
        """Keep what was measured."""
        with self.batch():
            memory_runs.keep_rates(self._state, run_id, turns, loads, now)

    def keep_predictions(self, run_id: RunId, predictions: Sequence[Prediction]) -> None:
        """Keep what was said of a run before it began."""
        with self.batch():
            for prediction in predictions:
                self._state.put(self._state.predictions, (run_id, prediction.endpoint), prediction)

    def leased(self, endpoint: str) -> int:
        """Tasks under lease on an endpoint."""
        return sum(row.endpoint == endpoint for row in self._state.leased())

    def resident(self, endpoint: str, now: datetime) -> Resident:
        """What the runs agreed is loaded there."""
        return memory_runs.resident(self._state, endpoint, now)

    def begin_swap(self, run_id: RunId, seen: Resident, until: datetime, now: datetime) -> int | None:
        """Reserve a swap."""
        with self.batch():
            return memory_runs.begin_swap(self._state, run_id, seen, until, now)

    def end_swap(self, run_id: RunId, version: int, loaded: Sequence[str], swap: Swap | None, endpoint: str) -> bool:
        """Say what is loaded now."""
        with self.batch():
            return memory_runs.end_swap(self._state, run_id, version, loaded, swap, endpoint)

    def keep_swap(self, run_id: RunId, swap: Swap) -> None:
        """Keep a load on an endpoint where nothing had to be agreed."""
        with self.batch():
            memory_runs.keep_swap(self._state, run_id, swap)

    def tasks(self) -> Iterator[TaskState]:
        """Every task, in order of its number."""
        for row in list(self._state.tasks.values()):
            verdict = self._state.verdicts.get(row.task_id)
            yield TaskState(
                task_id=row.task_id,
                key=self._state.jobs[row.job_id].key,
                debate=row.debate,
                digest=row.digest,
                status=row.status,
                step=row.step,
                attempts=row.attempts,
                token=row.token,
                turns=len(self._state.turns.get(row.task_id, ())),
                verdict=None if verdict is None else (verdict.score, verdict.label),
            )
