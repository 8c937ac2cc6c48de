"""How many turns to keep in flight on an endpoint that holds all of its models, found while running.

One debate keeps one turn in flight. Above a certain number the server's cache loses a debate's prefix before its next
turn: a cliff (scheduling.md). Where it lies depends on a cache size that nobody tells, so it is approached from below:

1. **Rise** by a part of a turn for each turn heard, until something speaks against it. A server that tells nothing of
   waiting must get more done for it; one that tells nothing at all is raised step by step.
2. **Fall** when turns wait in the server (to what it serves at once), when the share kept of what could be cached
   falls (by a tenth; by three tenths out of the rise, which overshoots), or when a call is refused (by half).
   Then listen to no turn begun before those too many have ended: it tells of another limit. After a refusal, which
   may come at once and again and again, send no more than are in flight already, for as long as a turn takes.
3. **Climb** back by 4 % a round to somewhat below where it went wrong. A round is as many turns as are in flight.
4. **Hold**, and nudge upward by 2 % after a number of rounds that doubles whenever it goes wrong.

No clock, no chance, no effects: the same turns at the same times give the same limits.
"""

from __future__ import annotations

import math

from orchestrator.measures import Pressure
from orchestrator.scheduler.signs import Flow, Heard, Kept, Queue

__all__ = ["Heard", "Window"]

RISE = 0.4  # turns for each turn heard; a whole one while there are few
FEW = 8
CLIMB = 0.04  # a round
NUDGE = 0.02
PATIENCE = (16, 96)  # rounds between nudges: at first, at most
OVERSHOT, FELL, REFUSED = 0.7, 0.9, 0.5  # what is left of the limit after a fall
NEAR = 0.85  # of where it overshot: what had just begun there had not taken all of its room yet
AFTER = 0.5  # of a turn's length, from the end of the last one too many until what begins counts


class Window:
    """Finds how many turns may be in flight: `first` to begin with, `most` at most, no more than `slots` if known."""

    def __init__(self, *, first: int, most: int, slots: int | None = None) -> None:
        self.why = "its start" if slots is None else "the server's slots"
        self._slots = slots
        self._most = float(max(1, most if slots is None else min(most, slots)))
        self._limit = self._most if slots is not None else min(max(1.0, first), self._most)
        self._rest = math.inf  # how far it may climb without looking
        self._overshoots = True  # until it has once come down from the rise
        self._by_rate = False  # the rise ended because no more got done
        self._patience = PATIENCE[0]
        self._held = 0.0  # rounds since the last nudge
        self._nudge = NUDGE
        self._level = 0.0  # where it last went wrong
        self._full = False  # more are in flight than may be
        self._since = -math.inf  # what was begun before tells of another limit
        self._minds_loss = False  # even so
        self._tells_waiting = False
        self._waited = False  # at the last poll
        self._turn_s = 0.0  # how long turns take
        self._cut_at = -math.inf
        self._held_to = math.inf  # turns that were in flight beside one refused: for those there is room
        self._kept = Kept()
        self._queue = Queue()
        self._flow = Flow()

    @property
    def limit(self) -> int:
        """Turns that may be in flight now."""
        return max(1, int(self._limit + 1e-9))

    @property
    def seats(self) -> int:
        """Turns that may be in flight at this moment: no more than the limit, and fewer just after a refusal."""
        return int(min(self.limit, self._held_to))

    def heard(self, turn: Heard, *, in_flight: int, now: float) -> None:
        """A turn ended well; `in_flight` counts it too."""
        self._turn_s += (turn.total_s - self._turn_s) / (16 if self._turn_s else 1)
        if self._settled(now):
            self._held_to = math.inf
        if self._stale(turn, in_flight, now):
            return
        self._kept.add(turn)
        self._queue.add(turn, now)
        self._flow.add(turn, now)
        self._tells_waiting = self._tells_waiting or self._queue.tells
        served = self._queue.served()
        if served is not None:
            self._fall(served, rest=served, why="the server's slots", now=now)
        elif self._kept.fell:
            self._lost(in_flight, now)
        elif in_flight + 1 >= 0.9 * self.limit:
            self._raise(now)

    def pressed(self, pressure: Pressure, *, now: float) -> None:
        """The server told how many requests it works on and how many wait; asked about once a second."""
        self._tells_waiting = True
        running = pressure.running
        many, some = pressure.waiting > 2 + 0.1 * running, pressure.waiting > 1 + 0.02 * running
        before, self._waited = self._waited, some
        # A few wait for a moment whenever several prompts arrive together.
        if self._full or now <= self._since or not running or not (many or (some and before)):
            return
        # What it once served at the same time it should serve again. If it does not, its memory is short.
        level = running * (FELL if self._limit <= self._rest < math.inf else 1.0)
        self._fall(level, rest=level, why="requests waited", now=now)
        self._minds_loss = True

    def refused(self, *, beside: int, now: float) -> None:
        """A call found no memory, or was answered 503, with so many in flight beside it. Several at once count once."""
        if self._settled(now):
            self._overshoots = False
            self._fall(self._limit * REFUSED, rest=self._limit * FELL, why="a call refused", now=now)
        self._held_to = beside or math.inf

    def _settled(self, now: float) -> bool:
        return now - self._cut_at >= max(1.0, self._turn_s)

    def _stale(self, turn: Heard, in_flight: int, now: float) -> bool:
        """Whether a turn tells of another limit: of more in flight, or of what those had pushed out."""
        if self._full and in_flight <= self.limit:
            self._full = False
            self._since = now + AFTER * self._turn_s
        stale = self._full or now - turn.total_s < self._since
        if stale and self._minds_loss:
            self._kept.add(turn)
            if self._kept.fell:
                self._lost(in_flight, now)
        elif self._minds_loss:
            self._forget()
        return stale

    def _lost(self, in_flight: int, now: float) -> None:
        level = min(self._limit, in_flight)
        if level <= 1 or self._kept.in_vain(level, waited=self._waited):
            # The share fell for another reason: other prompts, another model. Fewer turns do not bring it back.
            self._limit = self._rest = max(level, self._kept.origin)
            self._forget()
            return
        part = OVERSHOT if self._overshoots or self._kept.vain else FELL
        rest = level * (NEAR if self._overshoots else FELL)
        self._overshoots = self._by_rate = False
        self._fall(level * part, rest=rest, why="cached share fell", now=now)

    def _fall(self, limit: float, *, rest: float, why: str, now: float) -> None:
        if self._limit > self._rest:
            self._patience = min(max(PATIENCE[0], 2 * self._patience), PATIENCE[1])
        self._level, self._nudge, self._held = self._limit, NUDGE, 0.0
        self.why = f"{why} at {self.limit}"
        self._limit = max(1.0, min(self._limit, limit))
        self._rest = max(1.0, min(rest, self._most))
        self._full = True
        self._cut_at = now
        self._forget()
        self._flow.start_over(self._level)

    def _raise(self, now: float) -> None:
        if self._limit < min(self._rest, self._most) and self._rest < math.inf:
            self._to(min(self._rest, self._limit + max(1.0, CLIMB * self._limit) / self._limit))
        elif self._slots is not None and self._rest == math.inf:
            return
        elif not self._tells_waiting and (self._by_rate or not self._kept.tells):
            self._try(now)
        elif self._rest < math.inf:
            self._hold()
        else:
            self._rise(now)

    def _rise(self, now: float) -> None:
        if not (self._tells_waiting or self._kept.sure):
            return
        self._to(self._limit + (RISE if self._limit >= FEW else 1.0))
        rate = None if self._tells_waiting else self._flow.rate(self._limit, now)
        if rate is not None:
            back = self._flow.flat(rate, self._limit)
            self._flow.clear()
            if back is not None:
                self._by_rate = True
                self._move(back, now)

    def _try(self, now: float) -> None:
        rate = self._flow.rate(self._limit, now)
        if rate is not None:
            self._move(self._flow.next(rate, self._limit), now)

    def _move(self, limit: float, now: float) -> None:
        """Go where the throughput is to be measured next."""
        before = self._limit
        self._to(limit)
        if self._limit < before:
            self.why = f"throughput flat at {math.ceil(before)}"
        self._full, self._since = self._limit < before, now
        self._forget()

    def _hold(self) -> None:
        self._held += 1 / self._limit
        if self._held < self._patience:
            return
        # Beyond where it once went wrong all is new, and what went wrong may be over: each nudge may be bolder.
        bold = self._limit > self._level
        self._patience = max(1, self._patience // 2) if bold else max(PATIENCE[0], self._patience)
        self._nudge = min(2 * self._nudge, RISE) if bold else NUDGE
        self._held, self._rest = 0.0, self._limit
        self._to(self._limit + max(1.0, self._nudge * self._limit))

    def _to(self, limit: float) -> None:
        self._limit = max(1.0, min(self._most, limit))
        if self._limit == self._most and self._rest == math.inf:
            self.why = "the most allowed"

    def _forget(self) -> None:
        self._minds_loss = False
        self._kept.clear()
        self._queue.clear()
        self._flow.clear()
