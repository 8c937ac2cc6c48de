"""The calls of an exam: what a run would send, by the same endpoint, with an ear at its wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from orchestrator.app.exam import asks, readings, sizes
from orchestrator.app.exam.subject import Outcome, Subject
from orchestrator.app.findings import Finding
from orchestrator.backends.facts import busy_slots, facts_of
from orchestrator.backends.heard import Heard, heard
from orchestrator.backends.wire import Answer, Wire
from orchestrator.domain import Backend
from orchestrator.errors import EndpointError
from orchestrator.measures import ModelFacts
from orchestrator.ports import Clock, Endpoint, Request

_LARGEST_OVERFLOW = 65_536  # tokens: a server that does not refuse such a prompt reads all of it
_POLL_S = 0.002


class Examiner:
    """Examines one loaded model.

    Args:
        wire: what the endpoint's calls of the model go by.
        tell: hears what is asked next.
        found: takes each finding as it is made.
    """

    def __init__(
        self,
        subject: Subject,
        endpoint: Endpoint,
        wire: Wire,
        clock: Clock,
        tell: Callable[[str], None],
        found: Callable[[Finding], None],
    ) -> None:
        self._subject = subject
        self._endpoint = endpoint
        self._wire = wire
        self._clock = clock
        self._tell = tell
        self._found = found
        self._answers: list[Answer] = []
        wire.listen(self._answers.append)

    async def examine(self) -> None:
        """Ask one thing after the other; a model that does not reply is asked no more."""
        subject, started = self._subject, self._clock.monotonic()
        against = await self._call("schema", asks.against_the_form(subject.model, subject.sampling))
        self._found(readings.answers(subject, against, self._clock.monotonic() - started))
        if against.replied is None:
            return
        facts = await self._facts()
        await self._form(against.replied, facts)
        counted = await self._cache()
        self._found(sizes.context(subject, facts, counted))
        self._found(sizes.slots(subject, facts.slots, await self._side_by_side()))
        self._found(await self._overflow(facts.context))

    async def _call(self, what: str, request: Request) -> Outcome:
        self._tell(what)
        self._answers.clear()
        error: EndpointError | None = None
        try:
            await self._endpoint.speak(request)
        except EndpointError as failed:
            error = failed
        answer = heard(self._answers[-1], self._subject.backend) if self._answers else None
        return Outcome(heard=answer, error=error)

    async def _facts(self) -> ModelFacts:
        try:
            return await facts_of(self._wire, self._subject.backend, self._subject.model)
        except EndpointError:
            return ModelFacts()

    async def _form(self, reply: Heard, facts: ModelFacts) -> None:
        """Thinking, schema and key order, which one reply shows; a second one, if the first breaks the schema."""
        subject, plain = self._subject, None
        self._found(readings.thinking(subject, reply, facts.thinks))
        if reply.thinking and not reply.text.strip():
            return
        if not readings.in_form(reply.text):
            plain = (await self._call("schema, in words", asks.for_the_form(subject.model, subject.sampling))).replied
        self._found(readings.form(subject, reply, plain))
        keys = readings.order(subject, plain or reply)
        if keys is not None:
            self._found(keys)

    async def _cache(self) -> int | None:
        """The largest prompt of the cards, sent twice; how many tokens it has."""
        subject = self._subject
        largest = sizes.largest(subject.prompts)
        messages = largest.messages if largest is not None else asks.stand_in_prompt()
        request = asks.again(subject.model, subject.sampling, messages, uuid4().hex)
        first = await self._call("prefix cache", request)
        second = await self._call("prefix cache", request) if first.replied is not None else first
        self._found(readings.cache(subject, first, second))
        return first.replied.prompt_tokens if first.replied is not None and largest is not None else None

    async def _overflow(self, context: int | None) -> Finding:
        subject = self._subject
        if context is None or context > _LARGEST_OVERFLOW:
            return readings.not_asked(subject, context)
        words = context + context // 8
        outcome = await self._call("too long a prompt", asks.too_long(subject.model, subject.sampling, words))
        return readings.overflow(subject, outcome, words)

    async def _side_by_side(self) -> int | None:
        """How many of some calls sent at once were at work at one time; None if the server does not tell."""
        self._tell("slots")
        self._answers.clear()
        model, sampling = self._subject.model, self._subject.sampling
        seen = 0
        async with asyncio.TaskGroup() as group:
            numbers = range(1, sizes.CALLS_AT_ONCE + 1)
            calls = [group.create_task(self._quietly(asks.at_length(model, sampling, number))) for number in numbers]
            while not all(call.done() for call in calls):
                busy = await self._busy()
                if busy is None:
                    break
                seen = max(seen, busy)
                await self._clock.sleep(_POLL_S)
        return seen or sizes.side_by_side([heard(answer, self._subject.backend) for answer in self._answers])

    async def _quietly(self, request: Request) -> None:
        """One call of which only the times matter; its reply may be cut."""
        with suppress(EndpointError):
            await self._endpoint.speak(request)

    async def _busy(self) -> int | None:
        """How many calls the server works on now; None if it does not tell."""
        if self._subject.backend is Backend.OLLAMA:
            return None
        pressure = await self._endpoint.pressure()
        if pressure is not None:
            return pressure.running
        try:
            return await busy_slots(self._wire)
        except EndpointError:
            return None
