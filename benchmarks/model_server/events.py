"""A simulated timeline: what happens when, in seconds, with no clock of its own.

Whoever drives it decides how fast it goes: a test runs it to its end at once, `pace` ties it to the real clock.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

Action: TypeAlias = Callable[[], None]


@dataclass(slots=True, eq=False)
class Event:
    """Something that will happen at `when` simulated seconds, unless it is cancelled."""

    when: float
    action: Action
    cancelled: bool = False

    def cancel(self) -> None:
        """It will not happen."""
        self.cancelled = True


class Simulation:
    """Events in the order of their times; those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._order = count()

    def after(self, seconds: float, action: Action) -> Event:
        """Ask for something in so many seconds; its time is exact, however late it is noticed."""
        event = Event(self.now + max(0.0, seconds), action)
        heapq.heappush(self._heap, (event.when, next(self._order), event))
        return event

    def next_at(self) -> float:
        """When the next event is due; infinity if there is none."""
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def step(self) -> None:
        """Go to the next event and let it happen."""
        if self.next_at() < math.inf:
            when, _, event = heapq.heappop(self._heap)
            self.now = when
            event.action()

    def run(self, until: float = math.inf) -> None:
        """Let everything happen that is due by `until`, and go there."""
        while self.next_at() <= until and self.next_at() < math.inf:
            self.step()
        if until < math.inf:
            self.now = max(self.now, until)
