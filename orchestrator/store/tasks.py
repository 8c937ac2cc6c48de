"""The task table in SQLite: every verb is one transaction, and the table is the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from orchestrator.domain import (
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
    Waiting,
)
from orchestrator.errors import ErrorClass
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.ports import ClaimRequest, RunStart, TaskState
from orchestrator.store import claims, intake, listing, measured, moves, residents, runs, spoken
from orchestrator.store.engine import Writer


class SqlTaskStore:
    """`ports.TaskStore` over one held connection; one thread at a time. The verbs are described there."""

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        """Open a database that `schema.upgrade` made.

        `synchronous` is FULL, or NORMAL: then a power cut loses the last turns, which are spoken again.
        """
        self.path = path
        self._writer = Writer(path, synchronous)

    def close(self) -> None:
        """Give the file back; the store is of no use afterwards."""
        self._writer.close()

    def batch(self) -> AbstractContextManager[None]:
        """One transaction around several verbs."""
        return self._writer.transaction()

    def submit(self, submission: Submission, drafts: Sequence[JobDraft], now: datetime) -> Submitted:
        """Add jobs that are new, and a pending task for each."""
        with self._writer.transaction():
            return intake.submit(self._writer, submission, drafts, now)

    def supersede(self, debate: str, digest: Digest, first: Step, now: datetime) -> int:
        """Replace pending tasks of other digests by pending tasks of this one."""
        with self._writer.transaction():
            return intake.supersede(self._writer, debate, digest, first, now)

    def begin_run(self, start: RunStart) -> RunId:
        """Begin a run."""
        with self._writer.transaction():
            return runs.begin_run(self._writer, start)

    def end_run(self, run_id: RunId, status: RunStatus, now: datetime, reason: str = "") -> None:
        """Close a run; nothing if it has ended already."""
        with self._writer.transaction():
            runs.end_run(self._writer, run_id, status, now, reason)

    def note_run(self, run_id: RunId, reason: str) -> None:
        """Say what holds a run up."""
        with self._writer.transaction():
            runs.note_run(self._writer, run_id, reason)

    def running(self) -> Mapping[RunId, str]:
        """Runs not ended yet."""
        with self._writer.transaction():
            return runs.running(self._writer)

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Take pending tasks."""
        with self._writer.transaction():
            return claims.claim(self._writer, request)

    def renew(self, run_id: RunId, leased_until: datetime) -> int:
        """Extend every lease of a run."""
        with self._writer.transaction():
            return claims.renew(self._writer, run_id, leased_until)

    def record(self, spoken_turn: Spoken, now: datetime) -> bool:
        """Keep a finished turn."""
        with self._writer.transaction():
            return spoken.record(self._writer, spoken_turn, now)

    def fail(self, failed: Failed, now: datetime) -> bool:
        """Keep a failed attempt."""
        with self._writer.transaction():
            return spoken.fail(self._writer, failed, now)

    def release(self, task_id: TaskId, token: Token, now: datetime) -> bool:
        """Give a claim back unspoken."""
        with self._writer.transaction():
            return claims.release(self._writer, task_id, token, now)

    def rescue(self, now: datetime, max_attempts: int, dead: Iterable[RunId] = ()) -> int:
        """Put back what nobody speaks any more."""
        with self._writer.transaction():
            return runs.rescue(self._writer, now, max_attempts, dead)

    def retry(
        self,
        now: datetime,
        *,
        debate: str | None = None,
        keys: Sequence[str] | None = None,
        error_class: ErrorClass | None = None,
    ) -> int:
        """Failed and cancelled tasks wait again, their attempts forgotten; how many."""
        with self._writer.transaction():
            return moves.retry(self._writer, now, debate, keys, error_class)

    def cancel(self, now: datetime, *, debate: str | None = None, keys: Sequence[str] | None = None) -> int:
        """Pending and leased tasks are cancelled; how many."""
        with self._writer.transaction():
            return moves.cancel(self._writer, now, debate, keys)

    def waiting(self, digests: Sequence[Digest], now: datetime, held_by: RunId | None = None) -> list[Waiting]:
        """Pending turns by digest, step, priority and home."""
        with self._writer.transaction():
            return listing.waiting(self._writer, digests, now, held_by)

    def leave(self, endpoints: Sequence[str], now: datetime) -> int:
        """Let any endpoint speak what waits for one that is none of these."""
        with self._writer.transaction():
            return claims.leave(self._writer, endpoints, now)

    def keep_rates(
        self, run_id: RunId | None, turns: Sequence[TurnRate], loads: Sequence[LoadRate], now: datetime
    ) -> None:
        """Keep what was measured."""
        with self._writer.transaction():
            measured.keep_rates(self._writer, run_id, turns, loads, now)

    def keep_predictions(self, run_id: RunId, predictions: Sequence[Prediction]) -> None:
        """Keep what was said of a run before it began."""
        with self._writer.transaction():
            measured.keep_predictions(self._writer, run_id, predictions)

    def leased(self, endpoint: str) -> int:
        """Tasks under lease on an endpoint."""
        with self._writer.transaction():
            return residents.leased(self._writer, endpoint)

    def resident(self, endpoint: str, now: datetime) -> Resident:
        """What the runs agreed is loaded there."""
        with self._writer.transaction():
            return residents.resident(self._writer, endpoint, now)

    def begin_swap(self, run_id: RunId, seen: Resident, until: datetime, now: datetime) -> int | None:
        """Reserve a swap."""
        with self._writer.transaction():
            return residents.begin_swap(self._writer, run_id, seen, until, now)

    def end_swap(self, run_id: RunId, version: int, loaded: Sequence[str], swap: Swap | None, endpoint: str) -> bool:
        """Say what is loaded now."""
        with self._writer.transaction():
            return residents.end_swap(self._writer, run_id, version, loaded, swap, endpoint)

    def keep_swap(self, run_id: RunId, swap: Swap) -> None:
        """Keep a load on an endpoint where nothing had to be agreed."""
        with self._writer.transaction():
            residents.keep_swap(self._writer, run_id, swap)

    def tasks(self) -> Iterator[TaskState]:
        """Every task, in order of its number, read a page at a time."""
        after = 0
        while page := self._page(after):
            yield from page
            after = page[-1].task_id

    def _page(self, after: int) -> list[TaskState]:
        with self._writer.transaction():
            return listing.page(self._writer, after)
