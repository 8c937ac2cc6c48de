"""What an endpoint does next, as a pure function of facts. See design.md beside this file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when an endpoint has nothing more to claim for the models it has loaded.

    Attributes:
        loaded: the models it answers with at once.
        holds: how many it can hold at once; None for all.
        waiting: pending turns that this endpoint may speak.
        leased: tasks under lease on this endpoint, by any run.
        may_begin: whether this run may begin tasks that nobody has begun.
    """

    loaded: tuple[str, ...]
    holds: int | None
    waiting: tuple[Waiting, ...]
    leased: int
    may_begin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """Turns wait for a loaded model: claim them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Wait until nobody speaks here any more; only then may models change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Unload `unload`, then load `load`."""

    unload: tuple[str, ...]
    load: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Only turns that back off are left."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing is left for this endpoint, unless another one makes it."""


Decision = Speak | Drain | Load | WaitUntil | Rest


def decide(facts: Facts) -> Decision:
    """The next step of an endpoint, by the decision tree of design.md."""
    ready = ready_turns(facts)
    if any(ready[model] for model in facts.loaded):
        return Speak()
    wanted = [model for model in ready if ready[model]]
    if wanted:
        return Drain() if facts.leased else _swap(facts, ready, wanted)
    if facts.leased:
        return Drain()
    later = [waiting.next_at for waiting in _eligible(facts) if waiting.next_at is not None]
    return WaitUntil(at=min(later)) if later else Rest()


def ready_turns(facts: Facts) -> Counter[str]:
    """Claimable turns by model."""
    ready: Counter[str] = Counter()
    for waiting in _eligible(facts):
        ready[waiting.model] += waiting.ready
    return ready


def _eligible(facts: Facts) -> list[Waiting]:
    return [waiting for waiting in facts.waiting if facts.may_begin or not waiting.fresh]


def _swap(facts: Facts, ready: Counter[str], wanted: list[str]) -> Load:
    # The longest queue pays most for one load; the name settles ties, so that two runs decide alike.
    load = min(wanted, key=lambda model: (-ready[model], model))
    if facts.holds is None or len(facts.loaded) < facts.holds:
        return Load(unload=(), load=load)
    spare = sorted(facts.loaded, key=lambda model: (ready[model], model))
    return Load(unload=tuple(spare[: len(facts.loaded) - facts.holds + 1]), load=load)


def fewest_loads(chains: Sequence[Sequence[str]], holds: int | None) -> int:
    """Loads that a run of these casts takes from nothing loaded, breadth first: the same for any number of tasks.

    Each chain is the models of one cast in order of speaking. The plan's own rule is followed: exhaust the loaded
    models, then load the one that most chains wait for.
    """
    left = [list(chain) for chain in chains if chain]
    loaded: tuple[str, ...] = ()
    loads = 0
    while left := [rest for chain in left if (rest := _spoken(chain, loaded))]:
        ready = Counter(chain[0] for chain in left)
        swap = _swap(Facts(loaded=loaded, holds=holds, waiting=(), leased=0, may_begin=True), ready, list(ready))
        loaded = (*(model for model in loaded if model not in swap.unload), swap.load)
        loads += 1
    return loads


def _spoken(chain: list[str], loaded: tuple[str, ...]) -> list[str]:
    """What is left of a chain once the loaded models have spoken as far as they can."""
    return next((chain[place:] for place, model in enumerate(chain) if model not in loaded), [])
