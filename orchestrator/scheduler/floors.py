"""What the visits on one endpoint need around them: a seat, a meter, and a way to make a turn durable."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.debate.steps import Floor
from orchestrator.domain import Backend, Claim, Digest, Spoken, Step, TaskId, Turn, Usage
from orchestrator.ports import Message
from orchestrator.scheduler.breaker import Breaker
from orchestrator.scheduler.context import LaneSettings, RunContext
from orchestrator.scheduler.guards import Guards
from orchestrator.scheduler.loads import Loads
from orchestrator.scheduler.meter import Meter
from orchestrator.scheduler.seats import Seats
from orchestrator.scheduler.visits import record
from orchestrator.scheduler.window import Heard, Window

_MOST = 256  # what vLLM works on at once by default; `slots` says more
_FIRST = {Backend.VLLM: 16}


class Floors:
    """Floors for visits on one endpoint, by digest, and what they share."""

    def __init__(self, run: RunContext, settings: LaneSettings, loads: Loads, meter: Meter) -> None:
        self.breaker = Breaker()
        self.window = window(settings)
        self.seats = Seats(lambda: 1 if self.breaker.half_open else self.window.seats)
        self.guards = Guards(run, settings.endpoint, meter, settings.measured)
        run.overslept.append(self.seats.send_away)
        self._run = run
        self._settings = settings
        self._loads = loads
        self._meter = meter
        self._last: dict[TaskId, tuple[Turn, str]] = {}  # a visit's last turn, and its prompt
        self._expected: dict[TaskId, int] = {}  # prompt tokens that a visit's present turn could find cached
        self._floors = {digest: self._floor(digest) for digest in run.debates}

    def __getitem__(self, digest: Digest) -> Floor:
        """The floor for tasks of a digest."""
        return self._floors[digest]

    def over(self, claim: Claim) -> None:
        """A visit has ended."""
        self._meter.forget(claim.task_id)
        self._last.pop(claim.task_id, None)
        self._expected.pop(claim.task_id, None)
        self.seats.leave(claim.task_id)

    def _floor(self, digest: Digest) -> Floor:
        run = self._run
        return Floor(
            debate=run.debates[digest],
            endpoint=self.guards,
            clock=run.clock,
            record=self._record,
            goes_on=self._goes_on,
            sit=self._sit,
            rise=self._rise,
            home=self._home,
            watch=self._watch,
        )

    def _watch(self, claim: Claim, messages: tuple[Message, ...], turn: Turn) -> None:
        self._run.watch(claim, messages, turn)
        if self._settings.workers is not None:
            return
        prompt = "\0".join(message.content for message in messages)
        before, text = self._last.get(claim.task_id, (None, ""))
        if before is not None and before.model == turn.model and before.usage.prompt_tokens is not None:
            self._expected[claim.task_id] = round(before.usage.prompt_tokens * begins_alike(text, prompt) / len(text))
        self._last[claim.task_id] = turn, prompt

    def _goes_on(self, step: Step) -> bool:
        return not self._run.halt and step.model in self._loads.loaded

    async def _sit(self, task_id: TaskId) -> bool:
        if not await self.seats.take(task_id):
            return False
        if self._run.leases_ran_out:
            return False
        self._meter.start(task_id)
        return True

    def _rise(self, task_id: TaskId) -> None:
        # Its seat is free only once the turn is durable: a crash repeats no more calls than there are seats.
        self._meter.stop(task_id)

    def _home(self, step: Step, turns: tuple[Turn, ...]) -> str:
        if step.model not in self._run.shared:
            return ""
        if step.model in self._settings.models:
            return self._settings.endpoint.name
        return next((turn.endpoint for turn in reversed(turns) if turn.model == step.model), "")

    async def _record(self, spoken: Spoken) -> bool:
        turn, task_id = spoken.turn, spoken.task_id
        # It is this turn's own number that counts, and it has risen already.
        in_flight, now = self._meter.in_flight + 1, self._run.clock.monotonic()
        told = heard(turn, self._expected.get(task_id))
        if self._settings.workers is not None:
            # What was asked for stays: a refusal lowers it for a while, nothing else does.
            told = replace(told, expected=None, cached_tokens=None, queued_s=None)
        self.window.heard(told, in_flight=in_flight, now=now)
        kept = await record(self._run, spoken, self.breaker)
        if kept:
            self._meter.spoke(task_id, turn)
        return kept


def heard(turn: Turn, expected: int | None) -> Heard:
    """What a turn shows of the server, given what could be cached of its prompt."""
    usage = turn.usage
    return Heard(
        expected=expected,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        reply_tokens=usage.reply_tokens,
        queued_s=_queued(usage),
        total_s=usage.total_s,
    )


def begins_alike(one: str, other: str) -> int:
    """How many characters both begin with. By halves: comparing slices is fast, comparing characters is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _queued(usage: Usage) -> float | None:
    if usage.prompt_s is None or usage.reply_s is None:
        return None
    return max(0.0, usage.total_s - (usage.load_s or 0.0) - usage.prompt_s - usage.reply_s)


def window(settings: LaneSettings) -> Window:
    """How many turns may be in flight: what was asked for, what the slots allow, or what is found while running."""
    if settings.workers is not None:
        return Window(first=settings.workers, most=settings.workers, slots=settings.workers)
    first = max(settings.first or 1, _FIRST.get(settings.endpoint.backend, 2))
    if settings.slots is None:
        return Window(first=first, most=_MOST)
    if settings.endpoint.backend is Backend.VLLM:
        # Its slots are requests, and its cache is often smaller than what so many requests would need.
        return Window(first=min(first, settings.slots), most=settings.slots)
    slots = settings.slots * (len(settings.models) if settings.room is None else 1)
    return Window(first=slots, most=slots, slots=slots)
