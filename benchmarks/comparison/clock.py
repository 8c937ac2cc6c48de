"""The server's simulated time as our scheduler is told it, so that it measures and waits in that and no other.

Where the server's clock never stands still, it is the real one, `1 / scale` times as fast. Where it rests after every
reply, only the server knows what time it is: it is asked after each, while it rests, and between replies nothing is
measured that could go wrong.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from benchmarks.comparison.servers import Pacing

# Real seconds after which a server that rests between replies is taken to go on all the same: time must not end.
_PATIENCE_S = 0.5


class SimulatedClock:
    """A `Clock` in simulated seconds."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._began = datetime.now(UTC)
        self._told = 0.0
        self._at = time.monotonic()

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._began + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Simulated seconds since it was made."""
        passed = time.monotonic() - self._at
        if self._pacing.grace_s:
            passed = max(0.0, passed - self._pacing.grace_s - _PATIENCE_S)
        return self._told + passed / self._pacing.scale

    async def sleep(self, seconds: float) -> None:
        """Let others run for about so many simulated seconds."""
        await asyncio.sleep(seconds * self._pacing.scale)

    def told(self, simulated_s: float) -> None:
        """What time the server says it is."""
        self._told = max(self.monotonic(), simulated_s)
        self._at = time.monotonic()
