"""An endpoint's calls with their guards: prompts that were cut or fill the context, unasked loads, calls that stall."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.backends.room import SETS_CONTEXT, check_room
from orchestrator.debate.sizes import Counts, size
from orchestrator.domain import Backend, Swap
from orchestrator.errors import StalledError
from orchestrator.measures import TurnRate
from orchestrator.ports import Endpoint, Reply, Request, Sampling, TaskStore
from orchestrator.scheduler.context import RunContext
from orchestrator.scheduler.meter import Meter
from orchestrator.scheduler.stalls import Allowed, History, Taken, allowed, usual_of_rates

# Ollama's load_duration of a model that is loaded: a millisecond to a tenth of a second. A load takes longer.
_LOADED_S = 0.25
_LOAD_S = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class _Call:
    """A call in flight: since when and at which charge, what it may take, and what it is given up by."""

    began: tuple[float, float]
    allowed: Allowed | None
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    taken_s: float = 0.0


class Guards:
    """One endpoint as the visits of a run speak with it; `measured` is what earlier runs measured there."""

    def __init__(self, run: RunContext, endpoint: Endpoint, meter: Meter, measured: Sequence[TurnRate] = ()) -> None:
        self.name = endpoint.name
        self.backend = endpoint.backend
        self._run = run
        self._endpoint = endpoint
        self._meter = meter
        self._counts: dict[str, Counts] = {}  # by model
        models = {rate.model for rate in measured}
        self._earlier = {
            model: usual_of_rates([rate for rate in measured if rate.model == model]) for model in sorted(models)
        }
        self._history: dict[tuple[str, Sampling], History] = {}
        self._open: set[_Call] = set()
        self._reloaded: dict[str, float] = {}  # until when a load was seen, by model

    async def speak(self, request: Request) -> Reply:
        """One call of a loaded model.

        Raises:
            OverflowingError: the prompt does not fit the card's context, was cut, or left the reply no room.
            StalledError: it took much longer than such calls do.
            EndpointError: whatever else the endpoint raises.
        """
        model, messages, context = request.model, request.messages, request.sampling.context
        counts = self._counts.setdefault(model, Counts())
        if self.backend in SETS_CONTEXT:
            counts.refuse(messages, context)
        reply, began = await self._in_time(request)
        usage = reply.usage
        await self._look_for_load(model, usage.load_s, began)
        if self.backend is not Backend.REHEARSAL:
            # It has no server that could cut anything, and takes four characters for a token, words or not.
            counts.check(messages, usage.prompt_tokens, reply.text)
        check_room(self.backend, reply, context)
        return reply

    def give_up_stalled(self) -> None:
        """Give up the calls in flight that have stalled; asked about once a second."""
        now = self._meter.mark()
        patience_s = 2 * self._meter.load_s()
        for call in self._open:
            seconds, charge = now[0] - call.began[0], now[1] - call.began[1]
            if call.allowed is not None and call.allowed.over(seconds, charge, patience_s=patience_s):
                call.taken_s = seconds
                call.scope.reschedule(0)

    async def _in_time(self, request: Request) -> tuple[Reply, float]:
        """The reply, and when it was asked for."""
        sampling, prompt_bytes = request.sampling, size(request.messages)
        history = self._history.setdefault((request.model, sampling), History())
        may_take = allowed((history.usual, self._earlier.get(request.model)), prompt_bytes, sampling.reply_limit)
        call = _Call(began=self._meter.mark(), allowed=may_take)
        self._open.add(call)
        try:
            async with call.scope:
                reply = await self._endpoint.speak(request)
        except TimeoutError as error:
            raise self._stalled(call, sampling) from error
        finally:
            self._open.discard(call)
        began, ended = call.began, self._meter.mark()
        told = reply.usage.reply_tokens
        history.add(
            Taken(seconds=ended[0] - began[0], charge=ended[1] - began[1], prompt_bytes=prompt_bytes, reply_tokens=told)
        )
        return reply, began[0]

    def _stalled(self, call: _Call, sampling: Sampling) -> StalledError:
        usual_s = call.allowed.usual_s if call.allowed else math.nan
        return StalledError(
            f"{self.name} stalled: no reply after {call.taken_s:.0f} s, where 99 of 100 such calls took no more than "
            f"{usual_s:.1f} s; it was not waited for until timeout_s ({sampling.timeout_s:g} s)"
        )

    async def _look_for_load(self, model: str, load_s: float | None, began: float) -> None:
        """Count a load that nobody asked for. All calls that wait for it see it; it is counted once."""
        usual_s = self._meter.load_s()
        least_s = min(_LOAD_S, max(_LOADED_S, usual_s / 2)) if usual_s else _LOAD_S
        if load_s is None or load_s < least_s or began < self._reloaded.get(model, -math.inf):
            return
        run = self._run
        self._reloaded[model] = run.clock.monotonic()
        swap = Swap(endpoint=self.name, unloaded=(model,), loaded=model, seconds=load_s, at=run.clock.now())
        run.tally.reloaded(swap)
        await run.commits.do(partial(_keep, run, swap))


def _keep(run: RunContext, swap: Swap, store: TaskStore) -> None:
    store.keep_swap(run.run_id, swap)
