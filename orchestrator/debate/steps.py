"""One turn of a debate: render, ask, check, record. A step is a function from visit to visit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from orchestrator.cast import Debate
from orchestrator.debate.judging import verdict_of
from orchestrator.debate.messages import Script, prompt_hash
from orchestrator.debate.order import next_step
from orchestrator.debate.quotes import check
from orchestrator.debate.repair import asked, endless, next_rung
from orchestrator.debate.replies import Read, reply_form
from orchestrator.domain import Attempt, Backend, Claim, Mark, Spoken, Step, TaskId, Turn, Usage
from orchestrator.errors import EndpointError, Guard, OverflowingError, ShapeError
from orchestrator.ports import Clock, Message, Reply, Request


class Ending(StrEnum):
    """Why a visit to a task ended."""

    DONE = "done"  # the judge has spoken
    YIELDED = "yielded"  # the next actor's model is not loaded here
    FAILED = "failed"  # this attempt failed; `failure` says how
    LOST = "lost"  # the lease was lost; nothing was written
    UNSPOKEN = "unspoken"  # no seat was given out any more; nothing was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt, and the error it failed with."""

    attempt: Attempt
    error: EndpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One claim on its way through the graph; `step` is who speaks next."""

    claim: Claim
    turns: tuple[Turn, ...]
    step: Step
    attempt: int
    script: Script | None = None  # rendered by the first turn
    ending: Ending | None = None
    failure: Failure | None = None


class Speaker(Protocol):
    """What a visit needs of an endpoint. Errors are those of `EndpointError` and its children."""

    name: str
    backend: Backend

    async def speak(self, request: Request) -> Reply:
        """One call of a loaded model."""
        ...


async def _at_once(_task_id: TaskId) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a visit needs around it.

    Attributes:
        record: makes a turn durable; False if the lease was lost. A turn's successor starts only after it.
        goes_on: whether the worker may speak this step at once, without a swap.
        sit: waits until this task may speak; False if it may not any more. Its prompt is rendered by then.
        rise: told of every reply, before it is recorded.
        home: which endpoint should speak a step after these turns; "" for any.
        watch: told of the rendered messages and the finished turn; for dry runs and progress.
    """

    debate: Debate
    endpoint: Speaker
    clock: Clock
    record: Callable[[Spoken], Awaitable[bool]]
    goes_on: Callable[[Step], bool]
    sit: Callable[[TaskId], Awaitable[bool]] = _at_once
    rise: Callable[[TaskId], None] = lambda _task_id: None
    home: Callable[[Step, tuple[Turn, ...]], str] = lambda _step, _turns: ""
    watch: Callable[[Claim, tuple[Message, ...], Turn], None] = lambda _claim, _messages, _turn: None


def begin(claim: Claim) -> Visit:
    """A visit that begins where the claim's turns end."""
    return Visit(claim=claim, turns=claim.turns, step=claim.step, attempt=claim.attempt)


async def take_turn(visit: Visit, floor: Floor) -> Visit:
    """Let the actor of `visit.step` speak, and record what it said before anything follows from it."""
    started = floor.clock.now()
    try:
        script = visit.script or Script(floor.debate, visit.claim.payload)
        messages = script.messages(visit.step, visit.turns)
        if not await floor.sit(visit.claim.task_id):
            return replace(visit, ending=Ending.UNSPOKEN)
        started = floor.clock.now()
        turn = await _turn(visit, script, messages, floor)
    except EndpointError as error:
        return replace(visit, ending=Ending.FAILED, failure=failure_of(visit, error, floor, started))
    return await _recorded(replace(visit, script=script), turn, floor)


def failure_of(visit: Visit, error: EndpointError, floor: Floor, started: datetime) -> Failure:
    """An error as the failed attempt that the store keeps."""
    attempt = Attempt(
        step=visit.step,
        attempt=visit.attempt,
        endpoint=floor.endpoint.name,
        error_class=error.kind,
        error=str(error),
        reply=error.reply,
        started_at=started,
        finished_at=floor.clock.now(),
        guard=error.guard,
        asks=error.asks,
    )
    return Failure(attempt=attempt, error=error)


async def _recorded(visit: Visit, turn: Turn, floor: Floor) -> Visit:
    turns = (*visit.turns, turn)
    then = next_step(floor.debate, turns)
    hold = then is not None and floor.goes_on(then)
    floor.rise(visit.claim.task_id)
    spoken = Spoken(
        task_id=visit.claim.task_id,
        token=visit.claim.token,
        turn=turn,
        then=then,
        verdict=verdict_of(floor.debate, turns),
        hold=hold,
        home="" if then is None else floor.home(then, turns),
    )
    if not await floor.record(spoken):
        return replace(visit, ending=Ending.LOST)
    if then is None:
        return replace(visit, turns=turns, ending=Ending.DONE)
    return replace(visit, turns=turns, step=then, attempt=1, ending=None if hold else Ending.YIELDED)


async def _turn(visit: Visit, script: Script, messages: tuple[Message, ...], floor: Floor) -> Turn:
    started, clock = floor.clock.now(), floor.clock.monotonic()
    reply, read, asks = await _ask(visit.step, messages, floor)
    turn = Turn(
        role=visit.step.role,
        round=visit.step.round,
        model=reply.model or visit.step.model,
        backend=floor.endpoint.backend,
        endpoint=floor.endpoint.name,
        text=reply.text,
        reply=read.fields,
        quotes=check(read.fields["evidence"], script.normalised_record),
        prompt_hash=prompt_hash(messages),
        asks=asks,
        attempt=visit.attempt,
        usage=replace(reply.usage, total_s=floor.clock.monotonic() - clock),
        started_at=started,
        finished_at=floor.clock.now(),
        marks=(*read.marks, *_stood_in(reply)),
    )
    floor.watch(visit.claim, messages, turn)
    return turn


def _stood_in(reply: Reply) -> Iterator[Mark]:
    if reply.model:
        yield Mark.FALLBACK_MODEL
    if reply.context:
        yield Mark.FALLBACK_CONTEXT


async def _ask(step: Step, messages: tuple[Message, ...], floor: Floor) -> tuple[Reply, Read, int]:
    """A reply that can be used, and how many calls it took; the ladder of `repair` says how often to ask, and how."""
    form = reply_form(floor.debate, step.role, step.round)
    sampling = floor.debate.actor(step.role).sampling
    request = Request(model=step.model, messages=messages, schema=form.schema, sampling=sampling)
    usage, told = Usage(), list[Guard]()
    while True:
        try:
            reply = await _spoken(floor.endpoint, request)
            usage = _sum(usage, reply.usage)
            return replace(reply, usage=usage), form.read(reply.text, reply.thinking), len(told) + 1
        except EndpointError as error:
            error.asks = len(told) + 1
            if not isinstance(error, ShapeError):
                raise
            told.append(error.guard)
            rung = next_rung(told)
            if rung is None:
                raise
            request = replace(request, messages=asked(rung, messages, form.schema, error))


async def _spoken(endpoint: Speaker, request: Request) -> Reply:
    try:
        return await endpoint.speak(request)
    except OverflowingError as error:
        if not endless(error.reply):
            raise
        # More room would only give more white space: it is the form that is wrong.
        raise ShapeError("the reply went on in white space until its limit", reply=error.reply) from error


def _sum(first: Usage, second: Usage) -> Usage:
    def add(name: str) -> Any:
        known = [value for value in (getattr(first, name), getattr(second, name)) if value is not None]
        return sum(known) if known else None

    return Usage(**{name: add(name) for name in Usage.__slots__})
