"""What an endpoint does next, as a pure function of facts. See design.md beside this file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.domain import Digest, Step, Waiting
from orchestrator.scheduler.fewest import Chain, Move, Room, after, costs

Chains = Mapping[tuple[Digest, Step], Chain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when an endpoint has nothing more to claim for the models it has loaded.

    Attributes:
        here: the endpoint's name.
        loaded: the models it answers with at once.
        room: what it can hold at once; None if all that is wanted of it fits.
        chains: for every step, the models from it on that this endpoint speaks with, in order.
        waiting: pending turns of its models.
        speaking: what is left, after the loaded models, of the chains of this run's turns in flight here.
        leased: tasks under lease here by any run; a swap under way in another run counts as one.
        may_begin: whether this run may begin tasks that nobody has begun.
        wave: how many tasks of each digest the present wave may still begin; None where there are no waves.
        wave_size: tasks that a wave begins.
        first: no wave has begun in this run.
        patience_s: how long a turn that backs off may keep its model loaded: what the swaps it saves would take.
    """

    here: str
    loaded: tuple[str, ...]
    room: Room | None
    chains: Chains
    waiting: tuple[Waiting, ...]
    speaking: tuple[Chain, ...]
    leased: int
    may_begin: bool
    wave: Mapping[Digest, int] | None
    wave_size: int
    first: bool
    patience_s: float
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """Turns wait for a loaded model: claim them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Begin a wave: so many tasks of each digest."""

    wave: Mapping[Digest, int]


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
    """Turns that back off are worth waiting for, or are all that is left."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing is left for this endpoint, unless another one makes it."""


Decision = Speak | Begin | Drain | Load | WaitUntil | Rest


def decide(facts: Facts) -> Decision:
    """The next step of an endpoint, by the decision tree of design.md."""
    if facts.first and facts.wave is not None:
        # An earlier run may have left a wave half begun: the first wave is what is missing from it.
        begun = sum(waiting.ready + waiting.later for waiting in _mine(facts) if not waiting.fresh)
        return Begin(wave=fair_wave(_fresh(facts), max(0, facts.wave_size - begun)))
    ready = [admitted for waiting in _mine(facts) if (admitted := _admitted(facts, waiting)).ready]
    if any(waiting.model in facts.loaded for waiting in ready):
        return Speak()
    if ready:
        if facts.leased:
            return Drain()
        return _straggler(facts) or _swap(facts, ready)
    if wave := _wave(facts):
        # Turns in flight that end with the models loaded now need no swap, and so hold no wave up.
        held_up = any(facts.speaking) or facts.leased > len(facts.speaking)
        stays = any(waiting.model in facts.loaded for waiting in _fresh(facts))
        return Drain() if held_up or (facts.leased and not stays) else Begin(wave=wave)
    if facts.leased:
        return Drain()
    later = [waiting.next_at for waiting in _mine(facts) if waiting.next_at is not None]
    return WaitUntil(at=min(later)) if later else Rest()


def fair_wave(waiting: list[Waiting], size: int) -> dict[Digest, int]:
    """How many tasks of each digest a wave of `size` begins.

    Higher priorities first; within one priority no digest gets more than another unless the other has no more.
    """
    wave: Counter[Digest] = Counter()
    for priority in sorted({each.priority for each in waiting}, reverse=True):
        counts: Counter[Digest] = Counter()
        for each in waiting:
            if each.priority == priority:
                counts[each.digest] += each.ready
        for place, (digest, count) in enumerate(sorted(counts.items(), key=lambda entry: (entry[1], entry[0]))):
            left = size - wave.total()
            wave[digest] += min(count, -(-left // (len(counts) - place)))
    return {digest: count for digest, count in wave.items() if count}


def _mine(facts: Facts) -> list[Waiting]:
    return [
        waiting
        for waiting in facts.waiting
        if waiting.home in ("", facts.here) and (facts.may_begin or not waiting.fresh)
    ]


def _fresh(facts: Facts) -> list[Waiting]:
    return [waiting for waiting in _mine(facts) if waiting.fresh and waiting.ready]


def _admitted(facts: Facts, waiting: Waiting) -> Waiting:
    """As many of these turns as the wave has room for."""
    if facts.wave is None or not waiting.fresh:
        return waiting
    return replace(waiting, ready=min(waiting.ready, facts.wave.get(waiting.digest, 0)))


def _wave(facts: Facts) -> dict[Digest, int]:
    return {} if facts.wave is None else fair_wave(_fresh(facts), facts.wave_size)


def _straggler(facts: Facts) -> WaitUntil | None:
    """A turn of a loaded model that comes back sooner than a swap away and back would take."""
    soon = facts.now + timedelta(seconds=facts.patience_s)
    times = [waiting.next_at for waiting in _mine(facts) if waiting.later and _worth(facts, waiting)]
    coming = [at for at in times if at is not None and at <= soon]
    return WaitUntil(at=min(coming)) if coming else None


def _worth(facts: Facts, waiting: Waiting) -> bool:
    room = facts.wave is None or not waiting.fresh or facts.wave.get(waiting.digest, 0) > 0
    return waiting.model in facts.loaded and room


def _swap(facts: Facts, ready: list[Waiting]) -> Load:
    loaded, room = frozenset(facts.loaded), facts.room or Room()
    # What waits for the next wave decides what is worth keeping, after everything that is ready now.
    beyond = {} if facts.wave is None else _beyond(facts, facts.wave)
    chains = frozenset(_chain(facts, each) + beyond.get(each.digest, ()) for each in ready)
    cost = costs(chains, loaded, room)
    move = min(cost, key=lambda move: _rank(move, cost[move], ready))
    return Load(unload=tuple(sorted(move.unload)), load=move.load)


def _beyond(facts: Facts, wave: Mapping[Digest, int]) -> dict[Digest, Chain]:
    """The chains of the tasks that this wave has no room for."""
    counts: Counter[Digest] = Counter()
    for each in _fresh(facts):
        counts[each.digest] += each.ready
    return {
        each.digest: _chain(facts, each) for each in _fresh(facts) if counts[each.digest] > wave.get(each.digest, 0)
    }


def _rank(move: Move, cost: int, ready: list[Waiting]) -> tuple[object, ...]:
    """The highest priority, then the fewest loads, then the longest queue; names settle ties alike for all runs."""
    waiting = [each for each in ready if each.model == move.load]
    first = max((each.priority for each in waiting), default=-math.inf)
    queue = sum(each.ready for each in waiting)
    return -first, cost, -queue, sorted(move.unload), move.load


def _chain(facts: Facts, waiting: Waiting) -> Chain:
    return facts.chains[waiting.digest, waiting.step]


def chains(orders: Mapping[Digest, Sequence[Step]], models: Collection[str]) -> Chains:
    """For every step of these debates, the models that an endpoint which has `models` speaks with from it on."""
    return {
        (digest, step): tuple(later.model for later in order[place:] if later.model in models)
        for digest, order in orders.items()
        for place, step in enumerate(order)
    }


def flying(chains: Chains, digest: Digest, step: Step, loaded: tuple[str, ...]) -> Chain:
    """What is left of the chain of a turn in flight once the loaded models have spoken."""
    return after(chains.get((digest, step), ()), loaded)
