"""Runs: the endpoints opened, the models checked, the lanes set going."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from orchestrator.app.clock import SystemClock
from orchestrator.app.lanes import look_first, open_lane
from orchestrator.app.planning import outlook
from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.graph import untraced
from orchestrator.domain import JobDraft, Submission, TaskStatus
from orchestrator.errors import BusyError, NotFoundError
from orchestrator.ports import RunStart, TaskStore
from orchestrator.scheduler.ceiling import ceiling_of
from orchestrator.scheduler.context import LaneSettings, Watch
from orchestrator.scheduler.liveness import alive, dead, dry_lock, speaking
from orchestrator.scheduler.run import RunEnd, RunSettings, run
from orchestrator.scheduler.tally import Tally
from orchestrator.store.memory import MemoryTaskStore

Display = Callable[[Tally], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `process-pending` was asked to do; None means no limit."""

    debate: str | None = None
    endpoint: str | None = None
    max_tasks: int | None = None


def process_pending(workplace: Workplace, request: RunRequest, display: Display) -> RunEnd:
    """Debate what is pending, until nothing is left or somebody stops it.

    Raises:
        SetupError, ConfigError, CastError: said before the first record is spent.
        StoreError: the database failed; the same command goes on later.
    """
    debates = workplace.debates(request.debate)
    if request.endpoint is not None:
        workplace.must_have(request.endpoint)
    told = outlook(workplace, debates, endpoint=request.endpoint, max_tasks=request.max_tasks)
    database = workplace.config.database
    with workplace.store() as store, alive(database) as lock:
        lanes = [open_lane(workplace.config, working) for working in told.workings]
        if any(lane.room for lane in lanes):
            # A dry run may have models of its own loaded; it holds this lock as long as it speaks.
            with dry_lock(database):
                pass
        settings = replace(
            run_settings(workplace, debates, lanes, lock),
            max_tasks=request.max_tasks,
            predictions=told.predictions,
            dead=lambda running: dead(database, running),
            display=display,
        )
        return asyncio.run(_run(store, settings))


def dry_run(workplace: Workplace, request: RunRequest, limit: int, watch: Watch) -> RunEnd:
    """Debate the next `limit` pending records from the start, show each turn to `watch`, store nothing.

    Raises:
        NotFoundError: no task is pending.
        BusyError: a run is speaking, and the models would have to take turns. Otherwise as `process_pending`.
    """
    debates = workplace.debates(request.debate)
    store, clock = MemoryTaskStore(), SystemClock()
    left = limit
    for debate in debates:
        drafts = _pending(workplace, debate, left)
        left -= len(drafts)
        submission = Submission(source=debate.name, debate=debate.name, digest=debate.digest, first=debate.first)
        store.submit(submission, drafts, clock.now())
    if left == limit:
        raise NotFoundError("nothing is pending: submit records first, or put failed ones back (orchestrate retry)")
    told = outlook(workplace, debates, endpoint=request.endpoint, max_tasks=limit)
    lanes = [open_lane(workplace.config, working) for working in told.workings]
    settings = replace(run_settings(workplace, debates, lanes, ""), watch=watch)
    if not any(lane.room for lane in lanes):
        return asyncio.run(_run(store, settings))
    database = workplace.config.database
    with dry_lock(database):
        if speaking(database):
            raise BusyError(
                "a run is speaking on this database, and a dry run would take its models away: wait until it has ended"
            )
        return asyncio.run(_run(store, settings))


def _pending(workplace: Workplace, debate: Debate, limit: int) -> Sequence[JobDraft]:
    with workplace.reading() as reading:
        return reading.pending(debate.name, limit)


def run_settings(
    workplace: Workplace,
    debates: Sequence[Debate],
    lanes: Sequence[LaneSettings],
    lock: str,
) -> RunSettings:
    """A run of these debates on these lanes, without limits; `lock` names the file that shows that it is alive."""
    settings = workplace.config.settings
    start = RunStart(
        host=socket.gethostname(),
        pid=os.getpid(),
        lock=lock,
        max_workers=0 if settings.max_workers == "auto" else settings.max_workers,
        started_at=SystemClock().now(),
    )
    return RunSettings(
        start=start,
        debates={debate.digest: debate for debate in debates},
        lanes=lanes,
        max_tasks=None,
        max_attempts=settings.max_attempts,
        lease_s=settings.lease_s,
        grace_s=settings.grace_s,
        ceiling=ceiling_of(settings.max_failures),
    )


async def _run(store: TaskStore, settings: RunSettings) -> RunEnd:
    settle()
    async with AsyncExitStack() as stack:
        stack.enter_context(untraced())
        for lane in settings.lanes:
            stack.push_async_callback(lane.endpoint.close)
        warnings = await look_first(settings.lanes)
        return await run(store, SystemClock(), replace(settings, warnings=warnings))


def settle() -> None:
    """Tell the garbage collector that what is imported by now stays; it takes a quarter of a run's CPU otherwise."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def left(workplace: Workplace, request: RunRequest) -> int:
    """Tasks that are pending now, of the debate asked for or of all."""
    with workplace.reading() as reading:
        return sum(
            count.count
            for count in reading.counts()
            if count.status is TaskStatus.PENDING and request.debate in (None, count.debate)
        )
