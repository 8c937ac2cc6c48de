"""The loading rules of one Ollama server: which models are loaded, who waits, who leaves and when.

Three rules explain everything seen from outside, the hang of ollama#17408 included:

- one loader takes the requests that need a load, first come first served; the head waits until the model that
  has to leave is idle, and nobody behind it starts a load;
- a request for a loaded model never meets the loader: it takes the model at once, and its `keep_alive` replaces the
  one the loader set to zero to make the model leave;
- a model leaves when its last user does and its `keep_alive` is zero, or when the timer ends that is set otherwise.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

# The real server writes "for ever" as the longest duration its clock can count: 292 years.
LONGEST = timedelta(days=106_751)


class QueueFull(Exception):  # noqa: N818 - the server's words
    """More requests wait for a load than `max_queue` allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options a runner is started with; a change of any of them reloads the model."""

    num_ctx: int = 4096
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int = 0
    use_mmap: bool | None = None
    num_thread: int = 0
    draft_num_predict: int = 0
    shift: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class Runner:
    """One model in memory: how it was started, who uses it, and how long it stays once idle.

    `ready` gives False when the load was given up because the client that asked for it went away.
    `cause` is what an unloading will be called in the events; None says that the loader reloads it.
    """

    model: str
    settings: Settings
    keep_s: float
    ready: asyncio.Future[bool]
    slots: asyncio.Semaphore
    users: int = 0
    alive: bool = True
    cause: str | None = "unload"
    timer: asyncio.TimerHandle | None = None
    idle_since: datetime | None = None

    def must_reload(self, wanted: Settings) -> bool:
        """Tell whether `wanted` needs another runner; an unset `num_gpu` takes what there is."""
        if not self.alive:
            return True
        mine = self.settings if wanted.num_gpu >= 0 else replace(self.settings, num_gpu=wanted.num_gpu)
        return mine != wanted

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
            self.timer.cancel()
            self.timer = None

    def expires_at(self) -> datetime:
        """Tell when the model leaves if nobody uses it any more."""
        stays = LONGEST if math.isinf(self.keep_s) else min(timedelta(seconds=self.keep_s), LONGEST)
        return (self.idle_since or datetime.now(UTC)) + stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A request that waits for the loader."""

    model: str
    settings: Settings
    keep_s: float | None
    granted: asyncio.Future[Runner]


@dataclass(slots=True, kw_only=True, eq=False)
class Runners:
    """All runners of one server. `time_scale` is how many real seconds a second of `keep_alive` takes."""

    holds: int = 1
    slots: int = 1
    max_queue: int = 512
    load_s: float = 0.0
    keep_s: float = 300.0
    time_scale: float = 1.0
    loaded: dict[str, Runner] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    most_wanted: int = 0
    _wanted: Counter[str] = field(default_factory=Counter)
    _head: Pending | None = None
    _behind: deque[Pending] = field(default_factory=deque)
    _loader: asyncio.Task[None] | None = None
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """Requests that wait for a load, the one in the loader's hands included."""
        return len(self._behind) + (self._head is not None)

    @asynccontextmanager
    async def use(self, model: str, settings: Settings, keep_s: float | None) -> AsyncIterator[Runner]:
        """Wait for the model and hold it; raises QueueFull at once when too many wait already."""
        self._wanted[model] += 1
        self.most_wanted = max(self.most_wanted, len(self._wanted))
        try:
            runner = await self._acquire(model, settings, keep_s)
            try:
                yield runner
            finally:
                self._release(runner)
        finally:
            self._wanted[model] -= 1
            self._wanted += Counter()

    def unload(self, model: str) -> None:
        """Make the model leave, now or when its last user does."""
        if (runner := self.loaded.get(model)) is not None:
            self._expire(runner, "unload")

    async def close(self) -> None:
        """Stop the loader and every timer; requests that still wait are cancelled."""
        for waiting in (self._head, *self._behind):
            if waiting is not None:
                waiting.granted.cancel()
        self._behind.clear()
        for runner in self.loaded.values():
            runner.stop_timer()
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)

    async def _acquire(self, model: str, settings: Settings, keep_s: float | None) -> Runner:
        while True:
            runner = self.loaded.get(model)
            if runner is None or runner.must_reload(settings):
                return await self._ask_loader(model, settings, keep_s)
            runner.take(keep_s)
            try:
                if await asyncio.shield(runner.ready):
                    return runner
            except asyncio.CancelledError:
                self._release(runner)
                raise

    async def _ask_loader(self, model: str, settings: Settings, keep_s: float | None) -> Runner:
        granted: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()
        pending = Pending(model=model, settings=settings, keep_s=keep_s, granted=granted)
        # The head is in the loader's hands, no longer in the queue: `max_queue` counts those behind it.
        if self._head is None:
            self._head = pending
            self._loader = asyncio.create_task(self._serve_queue())
        elif len(self._behind) < self.max_queue:
            self._behind.append(pending)
        else:
            raise QueueFull
        try:
            return await granted
        except asyncio.CancelledError:
            # Granted in the very moment the client left: nobody else will give the model back.
            if granted.done() and not granted.cancelled():
                self._release(granted.result())
            raise

    async def _serve_queue(self) -> None:
        while self._head is not None:
            if not self._head.granted.done():
                await self._grant(self._head)
            self._head = self._behind.popleft() if self._behind else None

    async def _grant(self, pending: Pending) -> None:
        event = "load"
        while True:
            runner = self.loaded.get(pending.model)
            if runner is not None and not runner.must_reload(pending.settings):
                if not pending.granted.done():
                    runner.take(pending.keep_s)
                    pending.granted.set_result(runner)
                return
            if runner is not None:
                event = "reload"
                await self._make_leave(runner, None)
            elif len(self.loaded) >= self.holds:
                await self._make_leave(self._evictable(), "evict")
            else:
                return await self._load(pending, event)

    def _evictable(self) -> Runner:
        return min(self.loaded.values(), key=lambda runner: (runner.users > 0, runner.keep_s, runner.model))

    async def _make_leave(self, runner: Runner, cause: str | None) -> None:
        self._room.clear()
        self._expire(runner, cause)
        # Asked once and never again: whoever gives the model a new `keep_alive` meanwhile makes this wait on.
        await self._room.wait()

    async def _load(self, pending: Pending, event: str) -> None:
        runner = Runner(
            model=pending.model,
            settings=pending.settings,
            keep_s=self.keep_s,
            ready=asyncio.get_running_loop().create_future(),
            slots=asyncio.Semaphore(self.slots),
        )
        self.loaded[runner.model] = runner
        runner.take(pending.keep_s)
        # Nobody sets this future before the load ends, so it can only end early because the client has gone.
        await asyncio.wait({pending.granted}, timeout=self.load_s)
        if pending.granted.done():
            del self.loaded[runner.model]
            self.events.append(("abort", runner.model))
            runner.ready.set_result(False)
            return
        self.events.append((event, runner.model))
        runner.ready.set_result(True)
        pending.granted.set_result(runner)

    def _expire(self, runner: Runner, cause: str | None) -> None:
        runner.stop_timer()
        runner.keep_s = 0.0
        runner.cause = cause
        if runner.users == 0:
            self._drop(runner)

    def _release(self, runner: Runner) -> None:
        runner.users -= 1
        if runner.users > 0 or self.loaded.get(runner.model) is not runner:
            return
        runner.idle_since = datetime.now(UTC)
        if runner.keep_s <= 0:
            self._drop(runner)
        elif not math.isinf(runner.keep_s):
            loop = asyncio.get_running_loop()
            runner.timer = loop.call_later(runner.keep_s * self.time_scale, self._drop, runner)

    def _drop(self, runner: Runner) -> None:
        runner.stop_timer()
        del self.loaded[runner.model]
        if runner.cause is not None:
            self.events.append((runner.cause, runner.model))
        self._room.set()
