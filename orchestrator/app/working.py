"""How each endpoint is to be worked: its room, its turns in flight, its order, its waves. The same for plan and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.app.casting import Casting
from orchestrator.cast import Debate
from orchestrator.config import Settings
from orchestrator.debate.order import steps
from orchestrator.domain import Digest, Step
from orchestrator.errors import ConfigError
from orchestrator.measures import ModelFile, TurnRate
from orchestrator.scheduler.fewest import Room, costs
from orchestrator.scheduler.forecast import Costs, wave_size

Order = Literal["waves", "depth"]

_SLOTS = {"rehearsal": 4, "llamacpp": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """How one endpoint is to be worked.

    Attributes:
        room: what it can hold at once; None if all of its models fit.
        workers: turns in flight; None to find out while running.
        slots: turns it works on at once for one model; None if nobody said.
        first: turns in flight to begin with, where how many is found while running; None if nothing is known.
        measured: what earlier runs measured of its models.
        order: what it is worked for: few loads by waves, or each task's verdict by depth first.
        wave_size: tasks in a wave; None where there are no waves. Depth first, where not all models fit, has waves too,
            of as many tasks as are in flight.
        why: what decided the order, for people.
    """

    casting: Casting
    room: Room | None
    workers: int | None
    slots: int | None
    first: int | None
    order: Order
    wave_size: int | None
    why: str
    measured: Sequence[TurnRate] = ()

    @property
    def in_flight(self) -> int | None:
        """Turns that will be in flight most of the time; None where that is found while running."""
        if self.workers is not None:
            return self.workers
        if self.slots is None or self.casting.settings.backend == "vllm":
            return None
        return self.slots * (len(self.casting.models) if self.room is None else 1)


def room_of(casting: Casting, files: Mapping[str, ModelFile] | None) -> Room | None:
    """What an endpoint can hold at once; None if all of the models wanted of it fit.

    Without `files`, because it does not answer, each of its models is taken to fit only alone.

    Raises:
        ConfigError: `holds_gib` is set, and the endpoint does not tell the size of a model.
    """
    settings = casting.settings
    sizes: list[tuple[str, float]] = []
    if settings.holds_gib and files is not None:
        for model in sorted(casting.models):
            gib = files.get(model, ModelFile()).gib
            if gib is None:
                raise ConfigError(
                    f"endpoints.{casting.name}.holds_gib: the endpoint does not tell how large {model!r} is: "
                    "set `holds` to a number of models instead"
                )
            sizes.append((model, gib))
    room = Room(models=settings.holds_at_once(), gib=settings.holds_gib or None, sizes=tuple(sizes))
    return None if room.fits(casting.models) else room


def turns_in_flight(settings: Settings, casting: Casting) -> tuple[int | None, int | None]:
    """Turns in flight, None to find out; and the slots for one model, None if nobody said."""
    own = casting.settings
    asked = own.max_workers or settings.max_workers
    workers = None if asked == "auto" else asked
    if workers is not None and not own.max_workers:
        workers = min(4096, max(1, round(workers * own.weight)))
    slots = own.slots or _SLOTS.get(own.backend)
    if own.backend == "llamacpp" and workers is not None and not own.slots:
        slots = workers
    return workers, slots


def wave_of(
    settings: Settings, casting: Casting, debates: Sequence[Debate], room: Room | None, known: Costs | None, slots: int
) -> int:
    """Tasks in a wave on this endpoint."""
    if settings.wave_size != "auto":
        return max(1, round(settings.wave_size * casting.settings.weight))
    chain = longest(debates, casting)
    models = tuple(step.model for step in chain)
    # A wave begins with what the one before it ended with.
    swaps = _loads_a_wave(models, room) if room is not None else 1
    size = wave_size(known, [(step.model, step.role) for step in chain], swaps, slots)
    return max(1, round(size * casting.settings.weight))


def longest(debates: Sequence[Debate], casting: Casting) -> list[Step]:
    """The steps that this endpoint speaks in the longest of the debates."""
    return max(
        ([step for step in steps(debate) if step.model in casting.models] for debate in debates), key=len, default=[]
    )


def _loads_a_wave(chain: tuple[str, ...], room: Room) -> int:
    first = min(costs(frozenset({chain}), frozenset(), room).values(), default=1)
    two = min(costs(frozenset({chain + chain}), frozenset(), room).values(), default=first)
    return max(1, two - first)


def orders(debates: Sequence[Debate]) -> dict[Digest, list[Step]]:
    """The steps of every debate, by its digest."""
    return {debate.digest: steps(debate) for debate in debates}
