"""The least number of model loads that a set of chains takes, and the loads it may begin with.

N tasks of one chain need no more loads than one of them does: each load is followed by every turn it allows. With room
for one model the answer is the length of the shortest common supersequence of the chains; with room for more it is the
least number of faults, as in paging. Both are one search over what is left of the chains and what is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

Chain = tuple[str, ...]

_MOST_STATES = 5_000  # a tenth of a second or two


class TooManyError(Exception):
    """The search would take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What an endpoint can hold: so many models, or so many GiB of models of these sizes. None for no limit.

    Where GiB count, a model of unknown size fits only alone.
    """

    models: int | None = None
    gib: float | None = None
    sizes: tuple[tuple[str, float], ...] = ()

    def fits(self, models: Collection[str]) -> bool:
        """Whether these can be loaded together. One alone always can: a server loads it, however much it spills."""
        if len(models) <= 1:
            return True
        if self.models is not None and len(models) > self.models:
            return False
        sizes = dict(self.sizes)
        return self.gib is None or sum(sizes.get(model, math.inf) for model in models) <= self.gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Unload these, then load that."""

    unload: frozenset[str]
    load: str


@dataclass(slots=True)
class _Search:
    room: Room
    known: dict[tuple[frozenset[Chain], frozenset[str]], int] = field(default_factory=dict)

    def loads(self, left: frozenset[Chain], loaded: frozenset[str]) -> int:
        """How many more loads it takes."""
        if not left:
            return 0
        found = self.known.get((left, loaded))
        if found is not None:
            return found
        if len(self.known) >= _MOST_STATES:
            raise TooManyError
        best = min(self.after(left, loaded, move) for move in moves(left, loaded, self.room))
        self.known[left, loaded] = best
        return best

    def after(self, left: frozenset[Chain], loaded: frozenset[str], move: Move) -> int:
        """How many loads it takes if this is the first of them."""
        now = loaded - move.unload | {move.load}
        return 1 + self.loads(spoken(left, now), now)


@lru_cache(maxsize=256)
def costs(left: frozenset[Chain], loaded: frozenset[str], room: Room) -> Mapping[Move, int]:
    """Every load that can come next, with the least number of loads that a schedule which begins with it takes.

    `left` holds, for every group of tasks, the models that have yet to speak, in order; what the loaded models can
    speak at once takes no load. Where there are too many different chains to search in a moment, every load is said
    to cost the same.
    """
    left = spoken(left, loaded)
    search = _Search(room)
    try:
        return {move: search.after(left, loaded, move) for move in moves(left, loaded, room)}
    except TooManyError:
        return dict.fromkeys(moves(left, loaded, room), 0)


def spoken(left: Iterable[Chain], loaded: Collection[str]) -> frozenset[Chain]:
    """What is left of the chains once the loaded models have spoken as far as they can."""
    return frozenset(rest for chain in left if (rest := after(chain, loaded)))


def after(chain: Chain, loaded: Collection[str]) -> Chain:
    """What is left of one chain once the loaded models have spoken as far as they can."""
    return next((chain[place:] for place, model in enumerate(chain) if model not in loaded), ())


def moves(left: Iterable[Chain], loaded: frozenset[str], room: Room) -> Iterator[Move]:
    """Every load that some chain waits for, with every smallest set of models that can make room for it."""
    for model in sorted({chain[0] for chain in left}):
        for unload in _makes_room(model, loaded, room):
            yield Move(unload=unload, load=model)


def _makes_room(model: str, loaded: frozenset[str], room: Room) -> Iterator[frozenset[str]]:
    found: list[frozenset[str]] = []
    for count in range(len(loaded) + 1):
        for gone in map(frozenset, combinations(sorted(loaded), count)):
            if not any(smaller <= gone for smaller in found) and room.fits(loaded - gone | {model}):
                found.append(gone)
                yield gone
