"""What an endpoint's failures do to the endpoint: fewer turns at a time, less of a model, a pause; and who is told.

A pause says since when and why, in the run's display and, through the store, in `status`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.errors import CapacityError, EndpointError, TransientError
from orchestrator.scheduler.breaker import pause_s
from orchestrator.scheduler.context import LaneSettings, RunContext
from orchestrator.scheduler.floors import Floors
from orchestrator.scheduler.tally import Pause
from orchestrator.scheduler.visits import Setback


class Outages:
    """One endpoint's pauses, and how long until it is asked again."""

    def __init__(self, run: RunContext, settings: LaneSettings, floors: Floors) -> None:
        self.paused = False
        self._run = run
        self._name = settings.endpoint.name
        self._fallback = settings.fallback
        self._floors = floors
        self._at_least_s = 0.0
        self._count = 0  # since the last turn that went well
        self._said = ""

    def heed(self, setback: Setback, model: str, beside: int) -> None:
        """A turn of a model failed, with so many in flight beside it: do what was decided about the endpoint."""
        decision, error = setback.decision, setback.error
        alone = self._floors.window.limit == 1
        if decision.crowded:
            self._send_fewer(error, beside)
        if decision.pause_s is not None:
            self.begin(str(error), decision.pause_s)
        elif decision.crowded and alone:
            if self._fallback is not None and isinstance(error, CapacityError) and error.memory:
                self._fallback.short = model
            self.begin(f"no room for a single turn: {error}")
        elif decision.crowded and not beside:
            self.begin(f"all turns were refused: {error}")
        self._try_more()

    def mind(self, error: EndpointError) -> None:
        """Looking at the endpoint, or loading, failed. Raises the error if waiting cannot help."""
        # What a record caused fails that record; what looking and loading meet is the endpoint's own, and may pass.
        if not isinstance(error, TransientError | CapacityError):
            raise error
        self.begin(str(error), error.retry_after_s or 0.0)

    def begin(self, why: str, at_least_s: float = 0.0) -> None:
        """Nothing is to be sent there until it answers, and not for so many seconds if the server asked for that."""
        now, before = self._run.clock.now(), self._run.tally.paused.get(self._name)
        self.paused = True
        self._at_least_s = max(self._at_least_s, at_least_s)
        self._run.tally.paused[self._name] = prolonged(before, why, now, at_least_s)
        self._floors.seats.close()

    def went_well(self) -> None:
        """A turn was spoken there: the next pause is a short one again."""
        self._count = 0
        self._try_more()

    def _try_more(self) -> None:
        if self._fallback is not None and self._fallback.impatient and not self.paused:
            self.begin("going back to what the card asks for, once no turn is in flight")

    @property
    def moves(self) -> bool:
        """Whether something else is to be loaded in a model's place, once nothing is in flight."""
        return self._fallback is not None and (self._fallback.short is not None or self._fallback.impatient)

    def move(self) -> None:
        """Take something smaller in a model's place, or something larger again. Nothing may be in flight."""
        if self._fallback is not None and (said := self._fallback.move()):
            self._run.tally.note(f"{self._name}: {said}")

    async def ask_in_s(self) -> float:
        """Seconds until it is to be asked again; longer each time."""
        await self._say()
        self._count += 1
        wished_s, self._at_least_s = self._at_least_s, 0.0
        return pause_s(self._count, wished_s, self._run.chance())

    async def over(self) -> None:
        """It answers again."""
        self.paused = False
        self._floors.breaker.answered()
        self._floors.seats.open()
        self._run.tally.paused.pop(self._name, None)
        await self._say()

    def _send_fewer(self, error: EndpointError, beside: int) -> None:
        window = self._floors.window
        before = window.limit
        window.refused(beside=beside, now=self._run.clock.monotonic())
        if window.limit < before:
            self._run.tally.squeezed[self._name] += 1
            self._run.tally.note(f"{self._name}: no room, so {window.limit} in flight instead of {before}: {error}")

    async def _say(self) -> None:
        text = self._run.tally.pauses()
        if text != self._said:
            self._said = text
            await self._run.commits.do(lambda store: store.note_run(self._run.run_id, text))


def prolonged(before: Pause | None, why: str, now: datetime, at_least_s: float) -> Pause:
    """A pause that begins, or goes on for another reason: since its beginning, and as long as was asked for at most."""
    until = [now + timedelta(seconds=at_least_s)] if at_least_s else []
    if before is None:
        return Pause(since=now, why=why, until=max(until, default=None))
    until += [before.until] if before.until is not None and before.until > now else []
    return Pause(since=before.since, why=why, until=max(until, default=None))
