"""What the lanes of one run share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from orchestrator.backends.fallback import FallbackEndpoint
from orchestrator.cast import Debate
from orchestrator.debate.graph import Graph
from orchestrator.domain import Claim, Digest, RunId, TaskId, Turn
from orchestrator.measures import TurnRate
from orchestrator.ports import Clock, Endpoint, Message, Sampling
from orchestrator.scheduler.ceiling import Ceiling
from orchestrator.scheduler.commits import Commits
from orchestrator.scheduler.fewest import Room
from orchestrator.scheduler.repeats import Repeats
from orchestrator.scheduler.tally import Tally

Watch = Callable[[Claim, tuple[Message, ...], Turn], None]


class Halt(IntEnum):
    """How far a run has been asked to stop."""

    NO = 0
    SOON = 1  # no new turns; those in flight finish
    NOW = 2  # turns in flight are given up


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """One endpoint with the models this run wants of it, and how it is to be worked.

    Attributes:
        fallback: the same endpoint, where a card names something smaller to take when memory runs out.
        models: each with the sampling it is loaded for.
        room: what it can hold at once; None if all of these models fit, and nothing has to be agreed between runs.
        workers: turns in flight; None to find out while running.
        slots: turns the server works on at once for one model; None if nobody said.
        first: turns in flight to begin with, where their number is found while running; None if nothing is known.
        measured: what earlier runs measured of these models here.
        waves: begin tasks in waves of `wave_size`, each finished before the next; else as seats get free.
    """

    endpoint: Endpoint
    models: Mapping[str, Sampling]
    room: Room | None
    workers: int | None
    slots: int | None = None
    first: int | None = None
    measured: Sequence[TurnRate] = ()
    waves: bool = False
    wave_size: int = 64
    fallback: FallbackEndpoint | None = None


@dataclass(slots=True, kw_only=True)
class RunContext:
    """What the lanes of one run share.

    Attributes:
        debates: the definitions this run speaks under, by digest.
        budget: how many more tasks may be begun or taken over; None for all.
        admitted: the tasks that count against the budget; kept only where there is one.
        shared: the models that more than one endpoint of this run speaks with.
        renewed_at: when this run's leases were last extended, by the clock that only grows.
        watch: sees every turn with the messages that led to it.
        wakers: called, by endpoint, when something happened that a waiting lane may want to look at.
        cancels: called once the turns in flight are to be given up.
        overslept: called when leases may have run out: what was claimed and has not begun to speak is let go.
        chance: draws a number from 0 to 1, for waits that should not all end together.
        repeats: how the turns that wait to be tried again failed last.
        ceiling: how many tasks may fail until the run is stopped; None for any number.
    """

    run_id: RunId
    debates: Mapping[Digest, Debate]
    graph: Graph
    commits: Commits
    clock: Clock
    tally: Tally
    max_attempts: int
    lease_s: float
    budget: int | None = None
    renewed_at: float = 0.0
    shared: frozenset[str] = frozenset()
    watch: Watch = lambda _claim, _messages, _turn: None
    admitted: set[TaskId] = field(default_factory=set)
    halt: Halt = Halt.NO
    interrupted: bool = False  # by a signal
    error: Exception | None = None
    wakers: dict[str, Callable[[], None]] = field(default_factory=dict)
    cancels: list[Callable[[], object]] = field(default_factory=list)
    overslept: list[Callable[[], object]] = field(default_factory=list)
    chance: Callable[[], float] = field(default_factory=lambda: random.Random(0).random)  # noqa: S311 -- spreads waits
    repeats: Repeats = field(default_factory=Repeats)
    ceiling: Ceiling | None = None

    @property
    def leases_ran_out(self) -> bool:
        """Whether this run was frozen for so long that others may hold its tasks by now."""
        return self.clock.monotonic() - self.renewed_at > self.lease_s

    def stop(self, halt: Halt, error: Exception | None = None) -> None:
        """Ask all lanes to stop; the first error is kept."""
        self.halt = max(self.halt, halt)
        self.error = self.error or error
        self.announce()
        if halt is Halt.NOW:
            for cancel in self.cancels:
                cancel()

    def announce(self, but: str = "") -> None:
        """Wake every lane, except that of the endpoint `but`."""
        for endpoint, wake in self.wakers.items():
            if endpoint != but:
                wake()

    def reserve(self, free: int, *, fresh: bool) -> tuple[int, bool]:
        """How many tasks may be claimed, and whether only those that this run held before.

        What is reserved is off the budget until `admit` says what came of it: lanes claim side by side.
        """
        if self.budget is None:
            return free, False
        if self.budget == 0:
            return (0, False) if fresh else (free, True)
        limit = min(free, self.budget)
        self.budget -= limit
        return limit, False

    def admit(self, claims: list[Claim], limit: int, mine: bool) -> None:
        """Count the tasks seen for the first time against the budget, and give back what was reserved beyond them."""
        if self.budget is None or mine:
            return
        new = {claim.task_id for claim in claims} - self.admitted
        self.admitted |= new
        self.budget += limit - len(new)
