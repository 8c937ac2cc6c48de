"""One endpoint's loop: claim, let visits speak, swap when the plan says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import assert_never

from orchestrator.debate.order import steps
from orchestrator.debate.steps import Ending
from orchestrator.domain import Claim
from orchestrator.errors import EndpointError, OrchestrateError, StoreError
from orchestrator.scheduler import plan
from orchestrator.scheduler.context import Halt, LaneSettings, RunContext
from orchestrator.scheduler.fewest import Chain
from orchestrator.scheduler.floors import Floors
from orchestrator.scheduler.loads import Loads
from orchestrator.scheduler.meter import Meter
from orchestrator.scheduler.outages import Outages
from orchestrator.scheduler.taking import Taking
from orchestrator.scheduler.visits import Setback, hold_visit

_POLL_S = 0.5
_LISTEN_S = 1.0
_LOOK_ROUND_S = 2.0
_AHEAD = 16  # one task in so many is claimed, and its prompt rendered, before there is a seat for it


class Lane:
    """Keeps one endpoint busy with turns of the models it has loaded."""

    def __init__(self, run: RunContext, settings: LaneSettings) -> None:
        self.resting = False
        self.meter = Meter(run.clock)
        self._run = run
        self._settings = settings
        self._endpoint = settings.endpoint
        self._loads = Loads(run, settings.endpoint, settings.models, settings.room, self.meter)
        self._floors = Floors(run, settings, self._loads, self.meter)
        self._taking = Taking(run, self._endpoint.name, self._loads, waves=settings.waves)
        self._chains = plan.chains({digest: steps(debate) for digest, debate in run.debates.items()}, settings.models)
        self._visits: dict[asyncio.Task[None], Claim] = {}
        self._look_again = False
        self._outages = Outages(run, settings, self._floors)
        self._over = False
        self._wake = asyncio.Event()
        run.wakers[self._endpoint.name] = self._look

    @property
    def quiet(self) -> bool:
        """Nothing in flight here, and nothing to claim."""
        return self.resting and not self._visits

    async def work(self, lanes: Sequence[Lane]) -> None:
        """Speak until nothing is left for any of the lanes, or the run is asked to stop.

        On Halt.SOON the turns in flight finish. On Halt.NOW this is cancelled, and they with it; the run's end
        releases their tasks.
        """
        listener = asyncio.create_task(self._listen())
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
        finally:
            self._over = True
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _loop(self, lanes: Sequence[Lane]) -> None:
        while not self._run.halt:
            # Whoever looks for work may find some: no other lane may take this one for idle meanwhile.
            self.resting = False
            if self._outages.paused:
                if not await self._wait_for_endpoint(lanes):
                    return
                continue
            await self._fill()
            if (not self._visits or self._may_begin_wave()) and not await self._next(lanes):
                return
            if self._visits:
                await self._pause(_POLL_S)

    def _may_begin_wave(self) -> bool:
        """A seat is free, and no turn in flight needs a swap before its task is done."""
        free = len(self._visits) < self._floors.window.limit
        return self._settings.waves and free and not any(self._speaking())

    async def _next(self, lanes: Sequence[Lane]) -> bool:
        """Do what the plan says; False once nothing is left for anybody."""
        try:
            decision = plan.decide(await self._facts())
            self.resting = isinstance(decision, plan.Rest)
            if self.resting:
                return await self._rest(lanes)
            await self._do(decision)
        except EndpointError as error:
            self._outages.mind(error)
        return True

    async def _do(self, decision: plan.Decision) -> None:
        match decision:
            case plan.Speak():
                self._taking.look_again()
                # Another run may have been faster; looking again at once would spin.
                await self._fill()
                if not self._visits:
                    await self._pause(_POLL_S)
            case plan.Begin(wave=wave):
                self._taking.begin(wave)
                await self._fill()
            case plan.Load():
                await self._loads.swap(decision)
            case plan.WaitUntil(at=at):
                await self._pause(min(_POLL_S, (at - self._run.clock.now()).total_seconds()))
            case plan.Drain() | plan.Rest():
                await self._pause(_POLL_S)
            case _:
                assert_never(decision)

    async def _facts(self) -> plan.Facts:
        run, settings = self._run, self._settings
        waiting, leased = await self._loads.counts()
        return plan.Facts(
            here=self._endpoint.name,
            loaded=self._loads.loaded,
            room=settings.room,
            chains=self._chains,
            waiting=tuple(waiting),
            speaking=tuple(self._speaking()),
            leased=max(leased, len(self._visits)),
            may_begin=run.budget is None or run.budget > 0,
            wave=self._taking.wave,
            wave_size=settings.wave_size,
            first=self._taking.first,
            patience_s=2 * self.meter.load_s(),
            now=run.clock.now(),
        )

    def _speaking(self) -> list[Chain]:
        return [
            plan.flying(self._chains, claim.digest, claim.step, self._loads.loaded) for claim in self._visits.values()
        ]

    async def _rest(self, lanes: Sequence[Lane]) -> bool:
        if all(lane.quiet for lane in lanes):
            self._run.announce()
            return False
        await self._pause(_POLL_S)
        return True

    async def _fill(self) -> None:
        if self._look_again:
            self._look_again = False
            self._taking.look_again()
        while (free := self._wanted() - len(self._visits)) > 0 and not self._run.halt and not self._outages.paused:
            claims = await self._taking.take(free)
            if not claims:
                return
            for claim in claims:
                visit = asyncio.create_task(self._visit(claim))
                self._visits[visit] = claim
                visit.add_done_callback(self._ended)
            self._count()

    def _wanted(self) -> int:
        limit = self._floors.window.limit
        return limit + 1 + limit // _AHEAD

    async def _visit(self, claim: Claim) -> None:
        try:
            ending, setback = await hold_visit(self._run, claim, self._floors[claim.digest], self._floors.breaker)
            # Before its seat is free, here too: after a refusal or in an outage nobody is to take it.
            self._heed(claim, ending, setback)
        except StoreError as error:
            # Before its seat is free: whoever took it would make a call whose turn cannot be stored either.
            self._run.stop(Halt.NOW, error)
            raise
        finally:
            self._floors.over(claim)

    def _heed(self, claim: Claim, ending: Ending, setback: Setback | None) -> None:
        if ending is Ending.YIELDED:
            # Only another endpoint can have the model that comes next: here it would not have been left.
            self._run.announce(but=self._endpoint.name)
        if setback is not None:
            self._look_again = True
            if setback.decision.delay_s is not None:
                self._taking.give_back(claim)
            self._outages.heed(setback, claim.step.model, self.meter.beside(claim.task_id))
        elif ending is not Ending.UNSPOKEN:
            self._outages.went_well()

    def _ended(self, visit: asyncio.Task[None]) -> None:
        self._visits.pop(visit, None)
        self._count()
        self._wake.set()
        if visit.cancelled():
            return
        error = visit.exception()
        if isinstance(error, Exception):
            self._run.stop(Halt.NOW, error)

    def _count(self) -> None:
        tally, name, limit = self._run.tally, self._endpoint.name, self._floors.window.limit
        tally.in_flight[name], tally.limits[name] = min(len(self._visits), self._floors.window.seats), limit

    async def _wait_for_endpoint(self, lanes: Sequence[Lane]) -> bool:
        """Ask the endpoint until it answers, and less often with every outage since its last turn.

        Turns in flight end by themselves meanwhile. False once nothing is left that only this endpoint could speak.
        """
        if self._outages.moves and self._visits:
            await self._pause(_POLL_S)
            return True
        if not await self._pause_for(await self._outages.ask_in_s(), lanes):
            return False
        if not self._visits:
            self._outages.move()
        try:
            await self._loads.look()
            await self._loads.try_out()
        except EndpointError as error:
            self._outages.mind(error)
            return await self._give_back(lanes)
        self._taking.look_again()
        await self._outages.over()
        return True

    async def _pause_for(self, seconds: float, lanes: Sequence[Lane]) -> bool:
        """Wait that long, whatever else happens; False once nothing is left for anybody or the run is to stop."""
        clock = self._run.clock
        ends = clock.monotonic() + seconds
        while not self._run.halt and (left := ends - clock.monotonic()) > 0:
            waiting, _ = await self._loads.waiting()
            self.resting = not waiting
            if self.resting and all(lane.quiet for lane in lanes):
                self._run.announce()
                return False
            await self._pause(min(left, _LOOK_ROUND_S))
            self.resting = False
        return not self._run.halt

    async def _give_back(self, lanes: Sequence[Lane]) -> bool:
        """The endpoint is down: others may speak what was to be spoken here. False if nothing is left for anybody."""
        run, name = self._run, self._endpoint.name
        others = [each for each in run.wakers if each != name]
        if await run.commits.do(lambda store: store.leave(others, run.clock.now())):
            run.announce(but=name)
        waiting, _ = await self._loads.waiting()
        self.resting = not waiting
        return not self.resting or await self._rest(lanes)

    async def _listen(self) -> None:
        """Give up calls that stall; ask how many requests wait there, while how many to send is still to be found."""
        while not self._over:
            await self._run.clock.sleep(_LISTEN_S)
            self._floors.guards.give_up_stalled()
            if self._settings.workers is None and self._visits and not self._outages.paused:
                pressure = await self._endpoint.pressure()
                if pressure is not None:
                    self._floors.window.pressed(pressure, now=self._run.clock.monotonic())
            self._floors.seats.give()

    async def _pause(self, seconds: float) -> None:
        """Wait until a visit ends, another lane announces something, or the time is over."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            self._look_again = True
        self._wake.clear()

    def _look(self) -> None:
        if self._run.halt:
            self._floors.seats.close()
        self._look_again = True
        self._wake.set()
