"""What finished turns show of a server: what it lost of its cache, who waited in it, how much it gets done."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

RECENT = 24  # follow-up turns whose cached share is looked at
ENOUGH = 12
LOST = 0.05  # of what could be cached, above the usual share
SEVERAL = 3  # turns that lost as much: one or two can be chance
USUAL = 0.06  # lost without any harm: half blocks, the role's words
IN_VAIN = 3  # falls that bring no cached share back, until it is taken for the server's usual one
QUEUED = 0.1  # of a turn's time
OURS = 0.05  # seconds of a turn that pass on our side of the wire, and look as if it had waited
STEP, FINEST = 2.0, 1.2  # times the limit, where only throughput can tell
GAIN = 0.05  # of throughput, that doubling the limit has to bring
ROUNDS = 3  # a measurement lasts, so that it sees all turns of a debate
FADES = 1.05
PATIENCE = (2, 32)  # measurements between comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one finished turn showed. None is unknown.

    Attributes:
        expected: tokens of the last prompt that the same model read in the same visit; None for a visit's first turn.
        prompt_tokens: all tokens of the prompt.
        cached_tokens: those of them that the server had in its cache.
        reply_tokens: tokens written.
        queued_s: seconds that the request waited in the server for a slot.
        total_s: seconds from our side of the wire.
    """

    expected: int | None
    prompt_tokens: int | None
    cached_tokens: int | None
    reply_tokens: int | None
    queued_s: float | None
    total_s: float


class Kept:
    """How much of what the server could have cached it no longer had."""

    def __init__(self) -> None:
        self.tells = False
        self.vain = 0  # falls in a row that brought nothing back
        self.origin = 1.0  # the limit before the first of them
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)  # lost and expected tokens
        self._usual = USUAL
        self._before = 0.0  # the share at the last fall; 0: none since all was well

    def add(self, turn: Heard) -> None:
        """Take a turn into account, if it says anything."""
        # A server without a cache says 0 for ever; one that has lost everything still has what all prompts share.
        self.tells = self.tells or bool(turn.cached_tokens)
        if turn.expected and turn.cached_tokens is not None and self.tells:
            self._recent.append((max(0, turn.expected - turn.cached_tokens), turn.expected))
        if len(self._recent) == RECENT and not self.fell:
            self._usual = min(self._usual, self.share)
            self._before, self.vain = 0.0, 0

    @property
    def sure(self) -> bool:
        """Whether enough was heard to know that nothing is wrong."""
        return len(self._recent) >= ENOUGH

    @property
    def share(self) -> float:
        """The part lost, of the last follow-up turns."""
        return sum(lost for lost, _ in self._recent) / sum(expected for _, expected in self._recent)

    @property
    def fell(self) -> bool:
        """Whether clearly more is lost than usually."""
        if not self.sure or self.share <= self._usual + LOST:
            return False
        return sum(lost > (self._usual + LOST) * expected for lost, expected in self._recent) >= SEVERAL

    def in_vain(self, level: float, *, waited: bool) -> bool:
        """Whether falling again from `level` is of no use; what is lost now is then taken for usual."""
        share = self.share
        if not self._before:
            self.origin = level
        elif share > self._before - 0.3 * (self._before - self._usual) and not waited:
            self.vain += 1
        self._before = share
        if self.vain < IN_VAIN:
            return False
        self._usual, self._before, self.vain = share, 0.0, 0
        return True

    def clear(self) -> None:
        """Forget the turns heard."""
        self._recent.clear()


class Queue:
    """How much of their time turns waited for a slot."""

    def __init__(self) -> None:
        self.tells = False
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=RECENT)  # end, waited, served: seconds

    def add(self, turn: Heard, now: float) -> None:
        """Take a turn into account, if it says anything."""
        if turn.queued_s is not None:
            self.tells = True
            queued = max(0.0, turn.queued_s - OURS)
            self._recent.append((now, queued, max(0.0, turn.total_s - queued)))

    def served(self) -> int | None:
        """How many turns the server serves at once; None if none waits."""
        if len(self._recent) < ENOUGH:
            return None
        (since, _, _), *later = self._recent
        queued, served = sum(turn[1] for turn in later), sum(turn[2] for turn in later)
        passed = later[-1][0] - since
        # Little's law: it holds however many wait, and while their number changes.
        return max(1, math.ceil(served / passed - 0.25)) if passed > 0 and queued > QUEUED * (queued + served) else None

    def clear(self) -> None:
        """Forget the turns heard."""
        self._recent.clear()


class Flow:
    """What the server gets done, in tokens a second, at one limit after the other: the only sign some servers give.

    A larger limit has to get clearly more done than the one before it, a smaller one as much.
    """

    def __init__(self) -> None:
        self._step = STEP
        self._up = True
        self._wait = 0  # measurements until the next comparison
        self._patience = PATIENCE[0]
        self._base: tuple[float, float] | None = None  # the limit to beat, and its rate
        self._over = math.inf  # the least limit found too much
        self._work = self._turns = 0
        self._since: float | None = None
        self._began_at = math.inf  # the limit when the measurement began

    def add(self, turn: Heard, now: float) -> None:
        """Count a turn's work: what was written, and what was read and not known to be cached."""
        if self._since is None:
            self._since = now
            return
        self._turns += 1
        self._work += (turn.reply_tokens or 0) + max(0, (turn.prompt_tokens or 0) - (turn.cached_tokens or 0))

    def rate(self, limit: float, now: float) -> float | None:
        """Tokens a second since the measurement began; None before enough was heard."""
        self._began_at = min(self._began_at, limit)
        if self._since is None or self._turns < ROUNDS * self._began_at or now <= self._since:
            return None
        return (self._work or self._turns) / (now - self._since)

    def flat(self, rate: float, limit: float) -> float | None:
        """The limit to go back to if a limit that rises by itself gets no more done; None if it does."""
        if self._base is not None and not self._better(rate, limit):
            self._over = limit
            return self._base[0]
        self._base = (limit, rate)
        return None

    def next(self, rate: float, limit: float) -> float:
        """Where to measure next, after this rate at this limit."""
        if self._base is None or limit == self._base[0]:
            self._base = (limit, rate)
            self._wait -= 1
            return self._other(limit) if self._wait < 0 else limit
        if self._better(rate, limit):
            self._base = (limit, rate)
            return self._other(limit)
        self._over = min(self._over, limit) if self._up else self._over
        self._turn_round()
        return self._base[0]

    def clear(self) -> None:
        """Begin a measurement."""
        self._work = self._turns = 0
        self._since = None
        self._began_at = math.inf

    def start_over(self, over: float) -> None:
        """A limit was too much for another reason: nothing measured before counts."""
        self._base, self._step, self._wait = None, FINEST, self._patience
        self._over = over

    def _better(self, rate: float, limit: float) -> bool:
        level, best = self._base or (limit, 0.0)
        return rate > best * (1 + GAIN * (limit / level - 1))

    def _other(self, limit: float) -> float:
        """The limit to compare with: between this one and what is too much, or a step below."""
        while self._up and self._step > FINEST and self._larger(limit) > 0.9 * self._over:
            self._step = max(FINEST, math.sqrt(self._step))
        if not self._up:
            return min(limit - 1, limit / self._step)
        if self._larger(limit) < self._over:
            return self._larger(limit)
        self._turn_round()
        return limit

    def _larger(self, limit: float) -> float:
        return max(limit + 1, limit * self._step)

    def _turn_round(self) -> None:
        if self._up and self._step > FINEST:
            self._step = max(FINEST, math.sqrt(self._step))
            return
        self._up = not self._up
        self._wait = self._patience
        self._patience = min(2 * self._patience, PATIENCE[1])
        self._over *= FADES  # what was too much need not be so for ever
