"""One claimed task on its way through the graph, and what is done about it if its turn fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from orchestrator.debate.graph import hold_debate
from orchestrator.debate.steps import Ending, Failure, Floor, begin, failure_of
from orchestrator.domain import Claim, Failed, Spoken, TaskId
from orchestrator.errors import (
    CapacityError,
    DeterministicError,
    EndpointError,
    ErrorClass,
    StalledError,
    StoreError,
    TransientError,
)
from orchestrator.ports import TaskStore
from orchestrator.scheduler import retry
from orchestrator.scheduler.breaker import Breaker
from orchestrator.scheduler.ceiling import too_many
from orchestrator.scheduler.context import Halt, RunContext

# The model spoke, so the endpoint works.
_REPLIED = frozenset({ErrorClass.SHAPE, ErrorClass.REFUSAL, ErrorClass.OVERFLOW})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """A turn that failed: with which error, and what was decided about it."""

    error: EndpointError
    decision: retry.Decision


async def hold_visit(run: RunContext, claim: Claim, floor: Floor, breaker: Breaker) -> tuple[Ending, Setback | None]:
    """Let a claimed task speak as far as it goes: why it ended, and what became of its turn if that failed.

    Raises:
        StoreError: a turn could not be made durable; the run cannot go on.
    """
    visit = begin(claim)
    try:
        visit = await hold_debate(run.graph, visit, floor)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 -- a record that breaks our own code must not end the night for the others
        problem = DeterministicError(f"internal error: {type(error).__name__}: {error}")
        return Ending.FAILED, await _failed(run, claim, failure_of(visit, problem, floor, floor.clock.now()), breaker)
    if visit.ending is None:
        raise AssertionError("a visit left the graph without an ending")
    if visit.failure is not None:
        return visit.ending, await _failed(run, claim, visit.failure, breaker)
    if visit.ending is Ending.UNSPOKEN:
        await run.commits.do(lambda store: store.release(claim.task_id, claim.token, floor.clock.now()))
    run.tally.lost += int(visit.ending is Ending.LOST)
    return visit.ending, None


async def _failed(run: RunContext, claim: Claim, failure: Failure, breaker: Breaker) -> Setback:
    error = failure.error
    decision = _decided(run, claim, failure, breaker)
    now = run.clock.now()
    retry_at = None if decision.delay_s is None else now + timedelta(seconds=decision.delay_s)
    failed = Failed(
        task_id=claim.task_id, token=claim.token, attempt=failure.attempt, retry_at=retry_at, counted=decision.counted
    )
    if await run.commits.do(lambda store: store.fail(failed, now)):
        _count(run, claim, error, given_up=retry_at is None)
        if retry_at is None:
            breaker.forget(claim.task_id)
    else:
        run.tally.lost += 1
        # Our own code may have failed after a turn was kept: the claim is then ours still, and would hold a swap up.
        await run.commits.do(lambda store: store.release(claim.task_id, claim.token, now))
    if decision.stop:
        run.stop(Halt.SOON, error)
    return Setback(error=error, decision=decision)


def _decided(run: RunContext, claim: Claim, failure: Failure, breaker: Breaker) -> retry.Decision:
    error, task_id = failure.error, claim.task_id
    if error.kind in _REPLIED:
        breaker.went_well()
    probing = breaker.half_open and error.kind is ErrorClass.TRANSIENT
    again, worked, doubtful = run.repeats.again(task_id, failure.attempt), True, False
    if error.kind is ErrorClass.TRANSIENT:
        # A stall tells of the server's state and not of the record, so it proves nothing however often it comes.
        again = again and not isinstance(error, StalledError) and not run.repeats.widespread(failure.attempt)
        worked, doubtful = breaker.worked_since(task_id), breaker.suspects(task_id)
        _blame(run, task_id, breaker)
    decision = retry.decide(
        error.kind,
        failure.attempt.attempt,
        run.max_attempts,
        guard=error.guard,
        down=breaker.open or (isinstance(error, TransientError) and error.down),
        again=again,
        worked=worked,
        doubtful=doubtful,
        crowded=not isinstance(error, CapacityError) or error.crowded,
        retry_after_s=error.retry_after_s,
        chance=run.chance(),
    )
    return replace(decision, pause_s=decision.pause_s or 0.0) if probing else decision


def _blame(run: RunContext, task_id: TaskId, breaker: Breaker) -> None:
    breaker.failed(task_id)
    if breaker.open:
        # It was the endpoint's fault all the time: those that fell to it begin anew.
        for each in breaker.failing:
            run.repeats.forget(each)


def _count(run: RunContext, claim: Claim, error: EndpointError, *, given_up: bool) -> None:
    tally, ceiling = run.tally, run.ceiling
    tally.failed_attempt(claim, error.kind, str(error), given_up=given_up, guard=error.guard)
    if not given_up:
        return
    run.repeats.forget(claim.task_id)
    if ceiling is not None and not run.halt and ceiling.passed(tally.failed, tally.done):
        run.stop(Halt.SOON, too_many(ceiling, tally))


async def record(run: RunContext, spoken: Spoken, breaker: Breaker) -> bool:
    """Make a turn durable; False if its lease had gone."""
    breaker.went_well()
    kept = await run.commits.do(partial(_record, spoken, run))
    if kept:
        run.tally.spoke(spoken.turn, spoken.verdict)
        run.repeats.forget(spoken.task_id)
        breaker.forget(spoken.task_id)
    return kept


def _record(spoken: Spoken, run: RunContext, store: TaskStore) -> bool:
    return store.record(spoken, run.clock.now())
