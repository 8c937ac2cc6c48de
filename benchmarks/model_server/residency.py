"""Which models are in the memory of one Ollama, who waits for one, who leaves and when: callbacks on a timeline.

The rules are those that `tests/servers/ollama_runners.py` found in the recordings, the hang of ollama#17408 included,
with memory in GiB instead of a number of models, and with time for loading and unloading:

- one loader takes the calls that need a load, first come first served; the head waits until the model that has to
  leave is idle, and nobody behind it starts a load;
- a call for a loaded model never meets the loader: it takes the model at once, and its `keep_alive` replaces the one
  that the loader set to zero to make the model leave;
- a model leaves when its last user does and its `keep_alive` is zero, or when the timer ends that is set otherwise;
- the one that leaves is an idle one before a busy one, of these the one with the shortest `keep_alive`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.servers.ollama_runners import QueueFull, Settings

from .counts import Counts
from .events import Event, Simulation
from .profile import ModelSettings, Profile
from .slots import Slots


@dataclass(slots=True, kw_only=True, eq=False)
class Runner:
    """One model in memory. `cause` is what its leaving will be called; None says that the loader reloads it."""

    model: ModelSettings
    settings: Settings
    keep_s: float
    gib: float
    slots: Slots
    ready: bool = False
    users: int = 0
    cause: str | None = "unload"
    timer: Event | None = None
    idle_since: float | None = None
    waiting: list[Ticket] = field(default_factory=list)

    def must_reload(self, model: ModelSettings, wanted: Settings) -> bool:
        """Tell whether a call needs another runner; an unset `num_gpu` takes what there is."""
        mine = self.settings if wanted.num_gpu >= 0 else replace(self.settings, num_gpu=wanted.num_gpu)
        return mine != wanted or self.model.name != model.name

    def take(self, keep_s: float | None) -> None:
        """Count one more user; its `keep_alive`, if it has one, overrules everything before, an eviction too."""
        self.users += 1
        self.stop_timer()
        if keep_s is not None:
            self.keep_s = keep_s
            self.cause = "unload" if keep_s > 0 else self.cause

    def stop_timer(self) -> None:
        """Forget the moment at which the idle model would have left."""
        if self.timer is not None:
            self.timer.cancelled = True
            self.timer = None


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """A call's claim to a model; `grant` is called once, at once or later, unless the call is `cancelled` before."""

    model: ModelSettings
    settings: Settings
    keep_s: float | None
    grant: Callable[[Runner], None]
    runner: Runner | None = None
    reload: bool = False
    cancelled: bool = False


class Residency:
    """All runners of one server."""

    def __init__(
        self, sim: Simulation, profile: Profile, counts: Counts, slots: Callable[[ModelSettings], Slots]
    ) -> None:
        self.loaded: dict[str, Runner] = {}
        self._sim = sim
        self._profile = profile
        self._counts = counts
        self._slots = slots
        self._head: Ticket | None = None
        self._behind: deque[Ticket] = deque()
        # True while the head waits for room or for its load; only a model that has gone, or the load's end, ends it.
        self._blocked = False
        self._loading: tuple[Ticket, Runner, Event] | None = None
        self._leaving = 0
        self._leaving_gib = 0.0

    def ask(self, ticket: Ticket) -> None:
        """Wait for a model and hold it. Raises QueueFull at once when too many wait already."""
        runner = self.loaded.get(ticket.model.file)
        if runner is not None and not runner.must_reload(ticket.model, ticket.settings):
            self._give(runner, ticket)
            return
        if self._head is None:
            self._head = ticket
        elif len(self._behind) < self._profile.ollama.max_queue:
            self._behind.append(ticket)
        else:
            raise QueueFull
        self._serve()

    def cancel(self, ticket: Ticket) -> None:
        """The client has gone. Its place in the queue stays taken until the loader comes to it, as on a real server."""
        ticket.cancelled = True
        if ticket.runner is not None:
            self.release(ticket)
        elif self._loading is not None and self._loading[0] is ticket:
            self._abort()

    def release(self, ticket: Ticket) -> None:
        """Give a model back; called once for every grant."""
        runner, ticket.runner = ticket.runner, None
        if runner is None:
            return
        if ticket in runner.waiting:
            runner.waiting.remove(ticket)
        runner.users -= 1
        if runner.users > 0 or self.loaded.get(runner.model.file) is not runner:
            return
        runner.idle_since = self._sim.now
        if runner.keep_s <= 0:
            self._drop(runner)
        elif not math.isinf(runner.keep_s):
            runner.timer = self._sim.after(runner.keep_s, lambda: self._drop(runner))

    def unload(self, model: ModelSettings) -> None:
        """Make a model leave, now or when its last user does."""
        runner = self.loaded.get(model.file)
        if runner is not None:
            self._expire(runner, "unload")

    def _give(self, runner: Runner, ticket: Ticket) -> None:
        runner.take(ticket.keep_s)
        ticket.runner = runner
        if runner.ready:
            ticket.grant(runner)
        else:
            runner.waiting.append(ticket)

    def _serve(self) -> None:
        """Bring the head of the queue as far as it gets."""
        while self._head is not None and not self._blocked:
            if self._head.cancelled or self._granted(self._head):
                self._head = self._behind.popleft() if self._behind else None
        waiting = len(self._behind) + (self._head is not None)
        self._counts.level("waiting_for_load").set(waiting)

    def _granted(self, ticket: Ticket) -> bool:
        runner = self.loaded.get(ticket.model.file)
        if runner is not None and not runner.must_reload(ticket.model, ticket.settings):
            self._give(runner, ticket)
            return True
        self._blocked = True
        if runner is not None:
            ticket.reload = True
            self._expire(runner, None)
        elif self._fits(ticket):
            self._load(ticket)
        elif self.loaded:
            evicted = min(self.loaded.values(), key=lambda each: (each.users > 0, each.keep_s, each.model.name))
            # Asked once and never again: whoever gives the model a new `keep_alive` meanwhile makes this wait on.
            self._expire(evicted, "evict")
        return False

    def _fits(self, ticket: Ticket) -> bool:
        """The 80 % rule: beside others a model needs room for all of them, alone it is loaded whatever it needs."""
        if not self.loaded and not self._leaving:
            return True
        used = sum(runner.gib for runner in self.loaded.values()) + self._leaving_gib
        needed = used + self._profile.gib(ticket.model, ticket.settings.num_ctx)
        gpu = self._profile.gpu
        held = len(self.loaded) + self._leaving
        return held < self._profile.ollama.max_loaded and needed <= gpu.room * gpu.vram_gib

    def _load(self, ticket: Ticket) -> None:
        runner = Runner(
            model=ticket.model,
            settings=ticket.settings,
            keep_s=self._profile.ollama.keep_alive_s,
            gib=self._profile.gib(ticket.model, ticket.settings.num_ctx),
            slots=self._slots(ticket.model),
        )
        self.loaded[ticket.model.file] = runner
        runner.take(ticket.keep_s)
        self._counts.event("load_begins", ticket.model.name, reload=ticket.reload)
        event = self._sim.after(self._profile.load_s(ticket.model), self._loaded)
        self._loading = (ticket, runner, event)
        self._count_loading()

    def _loaded(self) -> None:
        if self._loading is None:
            return
        ticket, runner, _ = self._loading
        self._end_loading()
        kind = "reload" if ticket.reload else "load"
        self._counts.event(kind, runner.model.name, gib=runner.gib)
        self._counts.add("loads", runner.model.name)
        self._counts.add("reloads", runner.model.name, int(ticket.reload))
        runner.ready = True
        ticket.runner = runner
        self._head = self._behind.popleft() if self._behind else None
        waiting, runner.waiting = runner.waiting, []
        for each in (ticket, *waiting):
            each.grant(runner)
        self._serve()

    def _abort(self) -> None:
        """The client whose load this is has gone; those who meant to share it ask anew."""
        if self._loading is None:
            return
        _, runner, event = self._loading
        event.cancelled = True
        self._end_loading()
        del self.loaded[runner.model.file]
        self._counts.event("abort", runner.model.name)
        self._counts.add("aborts", runner.model.name)
        for each in runner.waiting:
            each.runner = None
            self._behind.append(each)
        self._serve()

    def _end_loading(self) -> None:
        self._loading = None
        self._blocked = False
        self._count_loading()

    def _expire(self, runner: Runner, cause: str | None) -> None:
        runner.stop_timer()
        runner.keep_s = 0.0
        runner.cause = cause
        if runner.users == 0:
            self._drop(runner)

    def _drop(self, runner: Runner) -> None:
        runner.stop_timer()
        del self.loaded[runner.model.file]
        kind = {"evict": "evictions", "unload": "unloads"}.get(runner.cause or "")
        self._counts.event(runner.cause or "leave", runner.model.name)
        if kind:
            self._counts.add(kind, runner.model.name)
        self._leaving += 1
        self._leaving_gib += runner.gib
        self._count_loading()
        self._sim.after(self._profile.ollama.unload_s, lambda: self._gone(runner))

    def _gone(self, runner: Runner) -> None:
        self._leaving -= 1
        self._leaving_gib -= runner.gib
        self._count_loading()
        if self._loading is None:
            self._blocked = False
            self._serve()

    def _count_loading(self) -> None:
        self._counts.loading(self._leaving + (self._loading is not None))
