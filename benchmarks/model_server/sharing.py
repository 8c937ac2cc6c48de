"""One GPU shared by everything that runs on it, exactly: the next completion is computed, never polled for.

Three rules give every stream its speed:

- models with work share the GPU's time evenly;
- while one model both reads prompts and writes replies, reading gets `prefill_share` of its time;
- prompts being read share `prefill` tokens/s; q replies being written get `decode` x batching(q) / q tokens/s each.

So no GPU time is lost or gained by any order of the same work, except through the size of the batch.

Streams of one model and phase always go at one speed. Each pool therefore counts the tokens that one of its streams
has got since it began (`reached`), and a stream ends when the count has grown by its own tokens: a change costs
time proportional to the number of pools, not of streams.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from .events import Event, Simulation


class Phase(StrEnum):
    """What a stream is doing: reading its prompt, or writing its reply."""

    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast one model goes alone, in tokens/s, and how much faster q replies are written together than one."""

    prefill: float
    decode: float
    batching: tuple[tuple[float, float], ...] = ((1, 1.0),)

    def together(self, streams: int) -> float:
        """Tokens/s of all streams together; between two rows of the table in a straight line, flat after the last."""
        below = (0.0, 0.0)
        for above in self.batching:
            if streams <= above[0]:
                part = (streams - below[0]) / (above[0] - below[0])
                return self.decode * (below[1] + part * (above[1] - below[1]))
            below = above
        return self.decode * below[1]


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One stream in one phase: it ends when its pool has reached `until`."""

    until: float
    done: Callable[[], None]
    pool: Pool
    cancelled: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Pool:
    """The streams of one model in one phase."""

    model: str
    phase: Phase
    rates: Rates
    reached: float = 0.0
    speed: float = 0.0
    share: float = 0.0
    streams: int = 0
    ends: list[tuple[float, int, Work]] = field(default_factory=list)

    def first(self) -> Work | None:
        """The stream that ends first."""
        while self.ends and self.ends[0][2].cancelled:
            heapq.heappop(self.ends)
        return self.ends[0][2] if self.ends else None

    def leave(self) -> None:
        """One stream less. An empty pool starts counting anew, which keeps its numbers small and exact."""
        self.streams -= 1
        if self.streams == 0:
            self.reached = 0.0
            self.ends.clear()


class Gpu:
    """One GPU. `on_change` is told whether it works after every change; `spent` is GPU seconds by model and phase."""

    def __init__(self, sim: Simulation, prefill_share: float, on_change: Callable[[bool], None]) -> None:
        self.spent: defaultdict[tuple[str, Phase], float] = defaultdict(float)
        self._sim = sim
        self._prefill_share = prefill_share
        self._on_change = on_change
        self._pools: dict[tuple[str, Phase], Pool] = {}
        self._since = 0.0
        self._next: Event | None = None
        self._order = count()

    def start(self, model: str, phase: Phase, rates: Rates, tokens: float, done: Callable[[], None]) -> Work:
        """Begin a stream of so many tokens; `done` is called when the last of them is through."""
        self._settle()
        pool = self._pools.setdefault((model, phase), Pool(model=model, phase=phase, rates=rates))
        pool.streams += 1
        work = Work(until=pool.reached + tokens, done=done, pool=pool)
        heapq.heappush(pool.ends, (work.until, next(self._order), work))
        self._plan()
        return work

    def cancel(self, work: Work) -> None:
        """End a stream before its time; nothing is called."""
        if not work.cancelled:
            self._settle()
            work.cancelled = True
            work.pool.leave()
            self._plan()

    def settle(self) -> None:
        """Bring `spent` up to the present."""
        self._settle()

    def _settle(self) -> None:
        passed = self._sim.now - self._since
        self._since = self._sim.now
        for pool in self._pools.values():
            if pool.streams:
                pool.reached += pool.speed * passed
                self.spent[pool.model, pool.phase] += pool.share * passed

    def _plan(self) -> None:
        """Give every pool its speed, and ask for the first end."""
        if self._next is not None:
            self._next.cancelled = True
            self._next = None
        active = [pool for pool in self._pools.values() if pool.streams]
        self._on_change(bool(active))
        phases = Counter(pool.model for pool in active)
        soonest, first = math.inf, None
        for pool in active:
            self._set_speed(pool, len(phases), phases[pool.model] > 1)
            work = pool.first()
            if work is not None and pool.speed > 0:
                left = max(0.0, work.until - pool.reached) / pool.speed
                if left < soonest:
                    soonest, first = left, work
        if first is not None:
            ending = first
            self._next = self._sim.after(soonest, lambda: self._end(ending))

    def _set_speed(self, pool: Pool, models: int, both: bool) -> None:
        reading = pool.phase is Phase.PREFILL
        part = (self._prefill_share if reading else 1.0 - self._prefill_share) if both else 1.0
        pool.share = part / models
        total = pool.rates.prefill if reading else pool.rates.together(pool.streams)
        pool.speed = pool.share * total / pool.streams

    def _end(self, work: Work) -> None:
        self._settle()
        work.cancelled = True
        # What rounding left over must not come back as an event of its own.
        work.pool.reached = work.until
        work.pool.leave()
        self._plan()
        work.done()
