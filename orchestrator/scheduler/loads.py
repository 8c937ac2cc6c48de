"""What one endpoint has loaded, agreed with the other runs that use it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from orchestrator.domain import Resident, Swap, Waiting
from orchestrator.errors import CapacityError, EndpointError, TransientError
from orchestrator.ports import Endpoint, Sampling
from orchestrator.scheduler.breaker import trial_call
from orchestrator.scheduler.context import RunContext
from orchestrator.scheduler.fewest import Room
from orchestrator.scheduler.meter import Meter
from orchestrator.scheduler.plan import Load


class Loads:
    """The loaded models of one endpoint, and the only place that changes them.

    Where an endpoint holds all the models a run wants of it, nothing has to be agreed: `version` is None, and the
    models are loaded one by one as they are wanted.
    """

    def __init__(
        self, run: RunContext, endpoint: Endpoint, models: Mapping[str, Sampling], room: Room | None, meter: Meter
    ) -> None:
        self.loaded: tuple[str, ...] = ()
        self._run = run
        self._endpoint = endpoint
        self._models = models
        self._room = room
        self._meter = meter
        self._resident: Resident | None = None

    @property
    def version(self) -> int | None:
        """Under which version of the endpoint's row claims are made; None where nothing has to be agreed."""
        return self._resident.version if self._resident is not None else None

    async def counts(self) -> tuple[list[Waiting], int]:
        """The turns that wait for this endpoint's models, and the tasks under lease here by any run.

        Raises:
            EndpointError: the endpoint does not answer, or cannot load a model.
        """
        await self.look()
        waiting, leased = await self.waiting()
        # A swap under way in another run is as good as a turn in flight: nothing may be sent until it is over.
        swapping = self._resident is not None and self._resident.swapping
        return waiting, leased + int(swapping)

    async def waiting(self) -> tuple[list[Waiting], int]:
        """As `counts`, from the store alone."""
        run, name, now = self._run, self._endpoint.name, self._run.clock.now()
        digests = tuple(run.debates)
        held_by = run.run_id if run.budget == 0 else None
        waiting, leased = await run.commits.do(
            lambda store: (store.waiting(digests, now, held_by=held_by), store.leased(name) if self._room else 0)
        )
        return [each for each in waiting if each.model in self._models], leased

    async def look(self) -> None:
        """See what the runs agreed on, and whether the endpoint still has it.

        An endpoint that holds all of its models gets those that it has not loaded yet.

        Raises:
            EndpointError: the endpoint does not answer, or cannot load a model.
        """
        actual = await self._endpoint.loaded()
        if self._room is None:
            for model in self._models:
                if model not in actual:
                    await self.swap(Load(unload=(), load=model))
            self.loaded = tuple(self._models)
        else:
            name, now = self._endpoint.name, self._run.clock.now()
            self._resident = await self._run.commits.do(lambda store: store.resident(name, now))
            agreed = () if self._resident.swapping else self._resident.loaded
            self.loaded = tuple(model for model in agreed if model in actual)
        self._run.tally.loaded[self._endpoint.name] = self.loaded

    async def try_out(self) -> None:
        """One trial call of a loaded model, if there is one.

        Raises:
            TransientError, CapacityError: the endpoint is still at fault. Any other answer shows that it works.
        """
        for model in self.loaded[:1]:
            try:
                await self._endpoint.speak(trial_call(model, self._models[model]))
            except (TransientError, CapacityError):
                raise
            except EndpointError:
                return

    async def swap(self, load: Load) -> None:
        """Unload, then load. Does nothing if another run was faster.

        Raises:
            EndpointError: the endpoint could not do it; nothing counts as loaded then.
        """
        run, seen, version = self._run, self._resident, None
        if seen is not None:
            now = run.clock.now()
            until = now + timedelta(seconds=run.lease_s)
            version = await run.commits.do(lambda store: store.begin_swap(run.run_id, seen, until, now))
            if version is None:
                return
        started = run.clock.monotonic()
        loaded: tuple[str, ...] = ()
        swap: Swap | None = None
        try:
            gone = await self._change(load)
            loaded = (*(model for model in self.loaded if model not in (*gone, *load.unload)), load.load)
            seconds = run.clock.monotonic() - started
            name = self._endpoint.name
            swap = Swap(endpoint=name, unloaded=gone, loaded=load.load, seconds=seconds, at=run.clock.now())
            run.tally.swapped(swap)
            self._meter.loaded(load.load, seconds)
        finally:
            await self._agree(version, loaded, swap)

    async def _change(self, load: Load) -> tuple[str, ...]:
        gone = load.unload
        if self._room is not None:
            # What an earlier program left loaded takes the room of what is wanted now.
            keep = {model for model in self.loaded if model not in load.unload}
            actual = await self._endpoint.loaded()
            known = dict.fromkeys((*self._models, *load.unload))
            gone = tuple(model for model in known if model in actual and model not in keep and model != load.load)
        for model in gone:
            await self._endpoint.unload(model)
        await self._endpoint.load(load.load, self._models[load.load])
        return gone

    async def _agree(self, version: int | None, loaded: tuple[str, ...], swap: Swap | None) -> None:
        run, name = self._run, self._endpoint.name
        if version is not None:
            await run.commits.do(lambda store: store.end_swap(run.run_id, version, loaded, swap, name))
        elif swap is not None:
            await run.commits.do(lambda store: store.keep_swap(run.run_id, swap))
