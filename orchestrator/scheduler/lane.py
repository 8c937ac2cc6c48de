"""One endpoint's loop: claim, let visits speak, swap when the plan says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import assert_never

from orchestrator.debate.steps import Ending, Floor
from orchestrator.domain import Claim, Digest, Step
from orchestrator.errors import CapacityError, EndpointError, OrchestrateError, StoreError, TransientError
from orchestrator.ports import ClaimRequest, Endpoint, Sampling, TaskStore
from orchestrator.scheduler import plan
from orchestrator.scheduler.breaker import Breaker
from orchestrator.scheduler.context import Halt, RunContext
from orchestrator.scheduler.loads import Loads
from orchestrator.scheduler.visits import hold_visit, record

_POLL_S = 0.5
_LONGEST_PAUSE_S = 30.0

ClaimKey = tuple[bool, str, Digest]


class Lane:
    """Keeps one endpoint busy with turns of the models it has loaded."""

    def __init__(
        self,
        run: RunContext,
        endpoint: Endpoint,
        models: Mapping[str, Sampling],
        *,
        holds: int | None,
        max_workers: int,
    ) -> None:
        self.resting = False
        self._run = run
        self._endpoint = endpoint
        self._models = models
        self._max_workers = max_workers
        self._loads = Loads(run, endpoint, models, holds=holds)
        self._breaker = Breaker()
        self._floors = {digest: self._floor(digest) for digest in run.debates}
        self._visits: set[asyncio.Task[None]] = set()
        self._empty: set[ClaimKey] = set()
        self._look_again = False
        self._paused = False  # until the endpoint answers again
        self._outages = 0  # since the last turn that went well
        self._wake = asyncio.Event()
        run.wakers[endpoint.name] = self._look

    @property
    def quiet(self) -> bool:
        """Nothing in flight here, and nothing to claim."""
        return self.resting and not self._visits

    async def work(self, lanes: Sequence[Lane]) -> None:
        """Speak until nothing is left for any of the lanes, or the run is asked to stop.

        On Halt.SOON the turns in flight finish. On Halt.NOW this is cancelled, and they with it; the run's end
        releases their tasks.
        """
        try:
            try:
                await self._loop(lanes)
            except OrchestrateError as error:
                self._run.stop(Halt.NOW if isinstance(error, StoreError) else Halt.SOON, error)
            while self._visits:
                await self._pause(_POLL_S)
        except asyncio.CancelledError:
            for visit in self._visits:
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)

    async def _loop(self, lanes: Sequence[Lane]) -> None:
        while not self._run.halt:
            if self._paused:
                await self._wait_for_endpoint()
                continue
            await self._fill()
            if not self._visits and not await self._next(lanes):
                return
            if self._visits:
                await self._pause(_POLL_S)

    async def _next(self, lanes: Sequence[Lane]) -> bool:
        try:
            decision = plan.decide(await self._loads.facts())
            self.resting = isinstance(decision, plan.Rest)
            match decision:
                case plan.Speak():
                    self._empty.clear()
                    # Another run may have been faster; looking again at once would spin.
                    await self._fill()
                    if not self._visits:
                        await self._pause(_POLL_S)
                case plan.Drain():
                    await self._pause(_POLL_S)
                case plan.Load():
                    await self._loads.swap(decision)
                case plan.WaitUntil(at=at):
                    await self._pause(min(_POLL_S, (at - self._run.clock.now()).total_seconds()))
                case plan.Rest():
                    return await self._rest(lanes)
                case _:
                    assert_never(decision)
        except EndpointError as error:
            self._mind(error)
        return True

    async def _rest(self, lanes: Sequence[Lane]) -> bool:
        if all(lane.quiet for lane in lanes):
            self._run.announce()
            return False
        await self._pause(_POLL_S)
        return True

    async def _fill(self) -> None:
        if self._look_again:
            self._look_again = False
            self._empty.clear()
        while (free := self._max_workers - len(self._visits)) > 0 and not self._run.halt:
            claims = await self._claim(free)
            if not claims:
                return
            for claim in claims:
                visit = asyncio.create_task(self._visit(claim))
                self._visits.add(visit)
                visit.add_done_callback(self._ended)
            self._run.tally.in_flight[self._endpoint.name] = len(self._visits)

    async def _claim(self, free: int) -> list[Claim]:
        for key in self._keys():
            if key in self._empty:
                continue
            limit, mine = self._run.reserve(free, fresh=key[0])
            if limit == 0:
                continue
            claims = await self._run.commits.do(partial(_claim, self._request(key, limit, mine)))
            self._run.admit(claims, limit, mine)
            if len(claims) < limit:
                self._empty.add(key)
            if claims:
                return claims
        return []

    def _keys(self) -> list[ClaimKey]:
        # Tasks already begun come first: they are closest to a verdict and their prefix is still in the cache.
        return [
            (fresh, model, digest)
            for fresh in (False, True)
            for model in self._loads.loaded
            for digest, debate in self._run.debates.items()
            if any(actor.model == model for actor in debate.actors)
        ]

    def _request(self, key: ClaimKey, limit: int, mine: bool) -> ClaimRequest:
        fresh, model, digest = key
        now = self._run.clock.now()
        return ClaimRequest(
            run_id=self._run.run_id,
            endpoint=self._endpoint.name,
            digest=digest,
            model=model,
            limit=limit,
            now=now,
            leased_until=now + timedelta(seconds=self._run.lease_s),
            fresh=fresh,
            mine=mine,
            resident=self._loads.version,
        )

    async def _visit(self, claim: Claim) -> None:
        ending, decision = await hold_visit(self._run, claim, self._floors[claim.digest], self._breaker)
        if ending is Ending.YIELDED:
            # Only another endpoint can have the model that comes next: here it would not have been left.
            self._run.announce(but=self._endpoint.name)
        if decision is not None:
            self._look_again = True
            self._paused = self._paused or decision.pause
        else:
            self._outages = 0

    def _ended(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        self._run.tally.in_flight[self._endpoint.name] = len(self._visits)
        self._wake.set()
        if visit.cancelled():
            return
        error = visit.exception()
        if isinstance(error, Exception):
            self._run.stop(Halt.NOW, error)

    async def _wait_for_endpoint(self) -> None:
        """Ask the endpoint until it answers, and less often with every outage since its last turn.

        Turns in flight end by themselves meanwhile.
        """
        self._outages += 1
        await self._pause(min(_LONGEST_PAUSE_S, _POLL_S * 2 ** min(self._outages, 8)))
        try:
            await self._loads.look()
            if self._breaker.open:
                await self._loads.try_out()
        except EndpointError as error:
            self._mind(error)
            return
        self._breaker.went_well()
        self._paused = False
        self._empty.clear()
        self._run.tally.paused.pop(self._endpoint.name, None)

    def _mind(self, error: EndpointError) -> None:
        # What a record caused fails that record; what looking and loading meet is the endpoint's own, and may pass.
        if not isinstance(error, TransientError | CapacityError):
            raise error
        self._paused = True
        self._run.tally.paused[self._endpoint.name] = str(error)

    async def _pause(self, seconds: float) -> None:
        """Wait until a visit ends, another lane announces something, or the time is over."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            self._look_again = True
        self._wake.clear()

    def _look(self) -> None:
        self._look_again = True
        self._wake.set()

    def _floor(self, digest: Digest) -> Floor:
        run = self._run
        return Floor(
            debate=run.debates[digest],
            endpoint=self._endpoint,
            clock=run.clock,
            record=lambda spoken: record(run, spoken, self._breaker),
            goes_on=self._goes_on,
            watch=run.watch,
        )

    def _goes_on(self, step: Step) -> bool:
        return not self._run.halt and step.model in self._loads.loaded


def _claim(request: ClaimRequest, store: TaskStore) -> list[Claim]:
    return store.claim(request)
