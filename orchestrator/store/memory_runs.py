"""Runs, rescues and swaps, in memory: the same moves as `runs` and `residents`, on plain rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain import Attempt, Resident, RunId, RunStatus, Swap, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.measures import LoadRate, TurnRate
from orchestrator.store.codec import storable
from orchestrator.store.memory_state import EndpointRow, State, TaskRow, step_of
from orchestrator.store.outcomes import ALONE_AFTER, DEAD, LOST
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns

_NEVER_SEEN = EndpointRow(loaded=(), version=0, run_id=None, swap_until=None)


def give_back(row: TaskRow, now: datetime) -> TaskRow:
    """The task, pending again; what it was leased for is forgotten."""
    return replace(row, status=TaskStatus.PENDING, endpoint=None, leased_until=None, updated_at=now)


def end_run(state: State, run_id: RunId, status: RunStatus, now: datetime, reason: str) -> None:
    """Close a run, give back its tasks uncounted and free the swap it had reserved."""
    for row in state.leased():
        if row.run_id == run_id:
            state.put_task(replace(give_back(row, now), attempts=max(row.attempts - 1, 0)))
    _close(state, run_id, status, reason)


def note_run(state: State, run_id: RunId, reason: str) -> None:
    """Say of a run that goes on what holds it up."""
    run = state.runs.get(run_id)
    if run is not None and run.status is RunStatus.RUNNING:
        state.put(state.runs, run_id, replace(run, reason=storable(reason)))


def rescue(state: State, now: datetime, max_attempts: int, dead: Iterable[RunId]) -> int:
    """Put back, or fail, tasks whose lease ran out or whose run is dead; how many."""
    gone = list(dead)
    lost = [row for row in state.leased() if _ran_out(row, now) or row.run_id in gone]
    for row in lost:
        _keep_lost(state, row, now)
        moved = replace(give_back(row, now), error_class=ErrorClass.LOST)
        to_blame = row.attempts >= max_attempts and _was_alone(row)
        state.put_task(replace(moved, status=TaskStatus.FAILED) if to_blame else moved)
    for run_id in gone:
        _close(state, run_id, RunStatus.LOST, DEAD)
    return len(lost)


def _was_alone(row: TaskRow) -> bool:
    return row.attempts > ALONE_AFTER and row.error_class is ErrorClass.LOST


def _ran_out(row: TaskRow, now: datetime) -> bool:
    return row.leased_until is not None and row.leased_until <= now


def _keep_lost(state: State, row: TaskRow, now: datetime) -> None:
    attempt = Attempt(
        step=step_of(row),
        attempt=row.attempts,
        endpoint=row.endpoint or "",
        error_class=ErrorClass.LOST,
        error=LOST,
        reply="",
        started_at=row.updated_at,
        finished_at=now,
    )
    state.put(state.attempts, row.task_id, (*state.attempts.get(row.task_id, ()), (row.token, attempt)))


def _close(state: State, run_id: RunId, status: RunStatus, reason: str) -> None:
    run = state.runs.get(run_id)
    if run is not None and run.status is RunStatus.RUNNING:
        state.put(state.runs, run_id, replace(run, status=status, reason=storable(reason)))
    for name, row in list(state.endpoints.items()):
        if row.run_id == run_id:
            state.put(state.endpoints, name, replace(row, run_id=None, swap_until=None))


def resident(state: State, endpoint: str, now: datetime) -> Resident:
    """What is loaded there; nothing under version 0 for an endpoint never seen."""
    row = state.endpoints.get(endpoint, _NEVER_SEEN)
    swapping = row.swap_until is not None and row.swap_until > now
    return Resident(endpoint=endpoint, loaded=row.loaded, version=row.version, swapping=swapping)


def begin_swap(state: State, run_id: RunId, seen: Resident, until: datetime, now: datetime) -> int | None:
    """Reserve a swap; the new version, or None if something moved since `seen` or somebody speaks there."""
    if seen.swapping or seen != resident(state, seen.endpoint, now):
        return None
    if any(row.endpoint == seen.endpoint for row in state.leased()):
        return None
    row = EndpointRow(loaded=(), version=seen.version + 1, run_id=run_id, swap_until=until)
    state.put(state.endpoints, seen.endpoint, row)
    return row.version


def end_swap(
    state: State, run_id: RunId, version: int, loaded: Sequence[str], swap: Swap | None, endpoint: str
) -> bool:
    """Say what is loaded now, and keep the swap; False if the reservation was lost."""
    row = state.endpoints.get(endpoint, _NEVER_SEEN)
    if (row.version, row.run_id) != (version, run_id):
        return False
    state.put(state.endpoints, endpoint, replace(row, loaded=tuple(loaded), run_id=None, swap_until=None))
    if swap is not None:
        keep_swap(state, run_id, swap)
    return True


def renew_swaps(state: State, run_id: RunId, until: datetime) -> None:
    """Extend a run's reservation of a swap."""
    for name, row in list(state.endpoints.items()):
        if row.run_id == run_id:
            state.put(state.endpoints, name, replace(row, swap_until=until))


def keep_swap(state: State, run_id: RunId, swap: Swap) -> None:
    """Keep a load."""
    state.put(state.swaps, len(state.swaps) + 1, (run_id, swap))


def keep_rates(
    state: State, run_id: RunId | None, turns: Sequence[TurnRate], loads: Sequence[LoadRate], now: datetime
) -> None:
    """Keep what was measured by a run, or by a probe of no run."""
    for rate in turns:
        kept = replace(rate, model_digest=storable(rate.model_digest))
        state.put(state.turn_rates, len(state.turn_rates) + 1, MeasuredTurns(rate=kept, run_id=run_id, at=now))
    for load in loads:
        told = replace(load, model_digest=storable(load.model_digest))
        state.put(state.load_rates, len(state.load_rates) + 1, MeasuredLoads(rate=told, run_id=run_id, at=now))
