"""The slots of one Ollama runner: so many prompts at a time, each slot with the prompt it saw last still in its cache.

A call takes the free slot whose last prompt begins most like its own, the one unused for longest among equals; while
none is free it waits, first come first served. Nothing is copied from one slot to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .prompts import Prompt
from .speech import Speech


@dataclass(slots=True, kw_only=True, eq=False)
class Slot:
    """`last` is the prompt in its cache, `used` counts its calls."""

    last: Prompt | None = None
    used: int = 0
    speech: Speech | None = None


class Slots:
    """All slots of a runner. `start` is given a call and the number of its tokens that its slot has cached."""

    def __init__(self, count: int, start: Callable[[Speech, int], None]) -> None:
        self._slots = [Slot() for _ in range(count)]
        self._waiting: deque[Speech] = deque()
        self._start = start
        self._clock = 0

    @property
    def waiting(self) -> int:
        """Calls without a slot."""
        return len(self._waiting)

    def take(self, speech: Speech) -> None:
        """Start a call, now or when a slot is free."""
        self._waiting.append(speech)
        self._serve()

    def leave(self, speech: Speech) -> None:
        """Give a call's slot, or its place in the queue, to the next."""
        for slot in self._slots:
            if slot.speech is speech:
                slot.speech = None
        if speech in self._waiting:
            self._waiting.remove(speech)
        self._serve()

    def _serve(self) -> None:
        free = [slot for slot in self._slots if slot.speech is None]
        while free and self._waiting:
            speech = self._waiting.popleft()
            cached, _, place = max((_cached(slot, speech), -slot.used, -place) for place, slot in enumerate(free))
            slot = free.pop(-place)
            self._clock += 1
            slot.used, slot.last, slot.speech = self._clock, speech.prompt, speech
            self._start(speech, cached)


def _cached(slot: Slot, speech: Speech) -> int:
    return slot.last.shared(speech.prompt) if slot.last is not None else 0
