"""An endpoint that calls something smaller in a model's place, as far as its card names it, when memory runs out.

To everybody else the model keeps its name: only what is sent to the server changes, and a reply tells who spoke it, and
in which context, so that its turn and its verdict can be marked.
It changes by `move` alone, which is called when nothing is in flight.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from orchestrator.backends.ladder import Ladder, Rung, rungs
from orchestrator.backends.room import check_room
from orchestrator.errors import CapacityError, OverflowingError
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Endpoint, Reply, Request, Sampling


class FallbackEndpoint:
    """Another endpoint, with its ladder."""

    def __init__(self, endpoint: Endpoint, models: Mapping[str, Sampling]) -> None:
        """`models` are those wanted of it, each with what its card says."""
        self.name = endpoint.name
        self.backend = endpoint.backend
        self._endpoint = endpoint
        self._models = models
        self._ladder = Ladder()
        self.short: str | None = None  # a model that memory is too short for; the next move takes less of it
        self._loaded: dict[str, Rung] = {}  # what stands for each model that was loaded here

    async def available(self) -> frozenset[str] | None:
        """The models it could serve."""
        return await self._endpoint.available()

    async def loaded(self) -> frozenset[str]:
        """The models it answers for at once; one that has moved only if what stands for it now was loaded."""
        actual = await self._endpoint.loaded()
        return (actual - self._models.keys()) | {model for model in self._models if self._stands(model, actual)}

    async def files(self) -> Mapping[str, ModelFile]:
        """What it tells of its models' files."""
        return await self._endpoint.files()

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """The files that models' weights lie in."""
        return await self._endpoint.weights(models)

    async def pressure(self) -> Pressure | None:
        """How many requests it works on and how many wait."""
        return await self._endpoint.pressure()

    async def load(self, model: str, sampling: Sampling) -> None:
        """Load what stands for a model now, after unloading what stood for it before."""
        rung, before = self._ladder.rung(model, sampling), self._loaded.pop(model, None)
        gone = model if before is None else before.model
        if gone != rung.model and gone in await self._endpoint.loaded():
            await self._endpoint.unload(gone)
        try:
            await self._endpoint.load(rung.model, rung.sampling)
        except CapacityError as error:
            self.short = model if error.memory else self.short
            raise
        self._loaded[model] = rung

    async def unload(self, model: str) -> None:
        """Unload a model, or what stands for it."""
        rung = self._loaded.pop(model, None)
        await self._endpoint.unload(model if rung is None else rung.model)

    async def speak(self, request: Request) -> Reply:
        """One call of what stands for a model now; the reply says so, if it is another model or a smaller context."""
        model, rung = request.model, self._rung(request.model)
        sampling = replace(request.sampling, context=min(request.sampling.context, rung.sampling.context))
        try:
            reply = await self._endpoint.speak(replace(request, model=rung.model, sampling=sampling))
            check_room(self.backend, reply, sampling.context)
        except OverflowingError as error:
            if sampling.context >= request.sampling.context:
                raise
            self._ladder.too_long(model)
            # The record is not to blame: it fits what its card asks for, as soon as there is memory for that.
            problem = f"{error}; memory ran out for the card's {request.sampling.context} tokens, so it waits"
            waits = CapacityError(problem, reply=error.reply, crowded=False)
            waits.guard = error.guard
            raise waits from error
        self._ladder.went_well(model)
        return replace(
            reply,
            model="" if rung.model == model else rung.model,
            context=0 if sampling.context == request.sampling.context else sampling.context,
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._endpoint.close()

    @property
    def impatient(self) -> bool:
        """Whether something larger is to be tried again."""
        return any(map(self._ladder.impatient, self._models))

    def move(self) -> str:
        """Take something smaller where memory ran out, or something larger after a while; says which, or ""."""
        model, self.short = self.short, None
        if model is not None:
            if self._ladder.down(model, self._models[model]):
                return f"out of memory: {self._rung(model)} speaks for {model} now"
            return ""
        for model in filter(self._ladder.impatient, self._models):
            self._ladder.up(model)
            return f"trying {self._rung(model)} again"
        return ""

    def _rung(self, model: str) -> Rung:
        return self._ladder.rung(model, self._models[model])

    def _stands(self, model: str, actual: Collection[str]) -> bool:
        rung = self._rung(model)
        # Before the first load here, what others have loaded counts, as on any endpoint.
        return rung.model in actual and self._loaded.get(model, rungs(model, self._models[model])[0]) == rung
