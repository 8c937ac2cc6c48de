"""One run: lanes side by side, leases renewed, dead runs' tasks rescued, signals obeyed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from orchestrator.cast import Debate
from orchestrator.debate.graph import build_graph
from orchestrator.domain import Digest, RunId, RunStatus
from orchestrator.errors import EndpointError, StoreError
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.ports import Clock, RunStart, TaskStore
from orchestrator.scheduler.ceiling import Ceiling
from orchestrator.scheduler.commits import Commits
from orchestrator.scheduler.context import Halt, LaneSettings, RunContext, Watch
from orchestrator.scheduler.lane import Lane
from orchestrator.scheduler.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run is asked to do.

    Attributes:
        max_tasks: tasks it may work on; None for all.
        dead: tells which of the runs that never ended have died.
        watch: sees every turn with the messages that led to it.
        display: told of the tally when the run begins; called once.
        ceiling: how many tasks may fail until it is stopped; None for any number.
        predictions: what was said of it beforehand, kept beside what comes of it.
        warnings: what somebody should know of it, said at its beginning and at its end.
    """

    start: RunStart
    debates: Mapping[Digest, Debate]
    lanes: Sequence[LaneSettings]
    max_tasks: int | None
    max_attempts: int
    lease_s: float
    grace_s: float
    dead: Callable[[Mapping[RunId, str]], Sequence[RunId]] = lambda _running: ()
    watch: Watch | None = None
    display: Callable[[Tally], None] = lambda _tally: None
    ceiling: Ceiling | None = None
    predictions: Sequence[Prediction] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended; `error` is why it stopped by itself before everything was done."""

    run_id: RunId
    status: RunStatus
    tally: Tally
    error: Exception | None
    turn_rates: Sequence[TurnRate]
    load_rates: Sequence[LoadRate]


async def run(store: TaskStore, clock: Clock, settings: RunSettings) -> RunEnd:
    """Speak until nothing is left, the limit is reached, or somebody stops it.

    Raises:
        StoreError: the database failed; what was acknowledged is safe, and the same command goes on later.
    """
    tally = Tally(started_at=clock.now())
    tally.warn(settings.warnings)
    commits = Commits(store)
    try:
        run_id = await commits.do(lambda store: _begin(store, clock, settings, tally))
        context = _context(run_id, commits, clock, tally, settings)
        settings.display(tally)
        lanes = [Lane(context, lane) for lane in settings.lanes]
        await _work(context, settings, lanes)
        if isinstance(context.error, StoreError):
            # What cannot be written cannot be closed either; the next run finds this one dead and puts its tasks back.
            raise context.error
        status = _status(context)
        reason = str(context.error or "")
        turns, loads = await _measured(settings, lanes)
        await commits.do(lambda store: store.end_run(run_id, status, clock.now(), reason))
        await commits.do(lambda store: store.keep_rates(run_id, turns, loads, clock.now()))
        return RunEnd(
            run_id=run_id, status=status, tally=tally, error=context.error, turn_rates=turns, load_rates=loads
        )
    finally:
        await commits.close()


def _begin(store: TaskStore, clock: Clock, settings: RunSettings, tally: Tally) -> RunId:
    now = clock.now()
    tally.rescued += store.rescue(now, settings.max_attempts, settings.dead(store.running()))
    for digest, debate in settings.debates.items():
        tally.superseded += store.supersede(debate.name, digest, debate.first, now)
    store.leave([lane.endpoint.name for lane in settings.lanes], now)
    run_id = store.begin_run(settings.start)
    store.keep_predictions(run_id, settings.predictions)
    return run_id


async def _measured(settings: RunSettings, lanes: Sequence[Lane]) -> tuple[list[TurnRate], list[LoadRate]]:
    turns: list[TurnRate] = []
    loads: list[LoadRate] = []
    for lane, measured in zip(settings.lanes, lanes, strict=True):
        try:
            files = await lane.endpoint.files()
        except EndpointError:
            files = {}  # it has gone since; what was measured is true all the same
        rates = measured.meter.rates(lane.endpoint.name, lane.models, files)
        turns += rates[0]
        loads += rates[1]
    return turns, loads


def _context(run_id: RunId, commits: Commits, clock: Clock, tally: Tally, settings: RunSettings) -> RunContext:
    context = RunContext(
        run_id=run_id,
        debates=settings.debates,
        graph=build_graph(),
        commits=commits,
        clock=clock,
        tally=tally,
        max_attempts=settings.max_attempts,
        lease_s=settings.lease_s,
        budget=settings.max_tasks,
        shared=_shared(settings.lanes),
        renewed_at=clock.monotonic(),
        chance=random.Random(run_id).random,  # noqa: S311 -- spreads waits
        ceiling=settings.ceiling,
    )
    if settings.watch is not None:
        context.watch = settings.watch
    return context


def _shared(lanes: Sequence[LaneSettings]) -> frozenset[str]:
    serving = Counter(model for lane in lanes for model in lane.models)
    return frozenset(model for model, count in serving.items() if count > 1)


async def _work(context: RunContext, settings: RunSettings, lanes: Sequence[Lane]) -> None:
    keeper = asyncio.create_task(_keep(context, settings))
    try:
        with _signals(context, settings.grace_s):
            tasks = [asyncio.create_task(lane.work(lanes)) for lane in lanes]
            context.cancels += [task.cancel for task in tasks]
            ends = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _keep(context: RunContext, settings: RunSettings) -> None:
    """Renew this run's leases, and rescue what others left, three times a lease."""
    while True:
        await context.clock.sleep(settings.lease_s / 3)
        if context.leases_ran_out:
            # Before the renewal: after it, what others have taken over would look like this run's own.
            for let_go in context.overslept:
                let_go()
        try:
            rescued = await context.commits.do(partial(_renew, context, settings))
        except StoreError as error:
            context.stop(Halt.NOW, error)
            return
        if rescued:
            context.tally.rescued += rescued
            context.announce()


def _renew(context: RunContext, settings: RunSettings, store: TaskStore) -> int:
    now = context.clock.now()
    store.renew(context.run_id, now + timedelta(seconds=settings.lease_s))
    context.renewed_at = context.clock.monotonic()
    return store.rescue(now, settings.max_attempts, settings.dead(store.running()))


@contextmanager
def _signals(context: RunContext, grace_s: float) -> Iterator[None]:
    """Ctrl-C or SIGTERM: finish the turns in flight, within the grace; a second one stops now."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def stop() -> None:
        if context.halt is Halt.NO:
            context.tally.note("stopping: turns in flight finish; once more to stop now")
            context.stop(Halt.SOON)
            timers.append(loop.call_later(grace_s, context.stop, Halt.NOW))
        else:
            context.stop(Halt.NOW)
        context.interrupted = True

    caught = (signal.SIGINT, signal.SIGTERM)
    for number in caught:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number in caught:
            loop.remove_signal_handler(number)


def _status(context: RunContext) -> RunStatus:
    if context.error is not None:
        return RunStatus.FAILED
    return RunStatus.INTERRUPTED if context.interrupted else RunStatus.DONE
