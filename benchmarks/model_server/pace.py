"""The real clock sets the pace of a simulated timeline, and never its times.

One simulated second lasts `scale` real ones, counted from one fixed moment, so that lateness does not add up. An
event that is noticed late has still happened at its own time.

What a client does between a reply and its next request takes real time, which `scale` turns into much simulated time.
`grace_s` gives it back: after every reply the simulated clock stands still for so many real seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .events import Simulation


class Pace:
    """Ties a simulation to the running loop's clock, from `start` to `stop`."""

    def __init__(self, sim: Simulation, scale: float, grace_s: float = 0.0) -> None:
        self._sim = sim
        self._scale = scale
        self._grace_s = grace_s
        self._zero = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._replied = False
        # The largest number of real seconds by which an event was noticed late: much of it spoils a measurement.
        self.late_s = 0.0

    def start(self) -> None:
        """Let the simulated clock go from here."""
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time() - self._sim.now * self._scale
        self._arm()

    def stop(self) -> None:
        """Stop it."""
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def present(self) -> Iterator[None]:
        """Let everything happen that is due, then whatever is done inside happens now."""
        self._catch_up(self._now())
        try:
            yield
        finally:
            self._arm()

    async def outcome(self, begin: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Wait for something to end. `begin` is given what to call at the end; it gives what to call to give up."""
        ended: asyncio.Future[None] = self._loop.create_future()

        def end() -> None:
            self._replied = True
            if not ended.done():
                ended.set_result(None)

        with self.present():
            give_up = begin(end)
        try:
            await ended
        except asyncio.CancelledError:
            with self.present():
                give_up()
            raise

    def _now(self) -> float:
        return max(self._sim.now, (self._loop.time() - self._zero) / self._scale)

    def _catch_up(self, until: float) -> None:
        while self._sim.next_at() <= until:
            self._sim.step()
            if self._replied and self._grace_s and self._sim.next_at() > self._sim.now:
                self._stand_still()
                return
        self._replied = False
        self._sim.run(until)

    def _stand_still(self) -> None:
        self._replied = False
        self._zero = self._loop.time() + self._grace_s - self._sim.now * self._scale

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._sim.next_at()
        if due < math.inf:
            self._timer = self._loop.call_at(self._zero + due * self._scale, self._fire, due)

    def _fire(self, due: float) -> None:
        self.late_s = max(self.late_s, self._loop.time() - self._zero - due * self._scale)
        # The loop may call a moment early.
        self._catch_up(max(self._now(), due))
        self._arm()
