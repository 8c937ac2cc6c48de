"""When a call has taken so long that its reply will not come, judged by the calls before it.

A call is measured twice: by the clock, and by its charge, its share of the endpoint's time (see meter.py). With more
turns in flight a call takes longer by the clock and is not charged more; with fewer it is charged more and takes no
longer. So a call is given up only once it is far out by both: neither how many are in flight or wait in the server, nor
a change of that number, can do it. How far it may go follows from the slowest of a hundred calls before it, made longer
as its own prompt is longer and as its reply may be, so that a long record is not taken for a stalled one.

Nothing here knows a clock; the card's `timeout_s` stays the end of every call.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.measures import TurnRate

ENOUGH = 50  # calls, until they say how long the next may take
FACTOR = 2.0  # times the slowest of a hundred
LEAST_S = 30.0  # a hiccup of the server or the network is no stall
_KEPT = 500  # of the newest calls
_AGAIN = 25  # calls, until the slowest is looked for again
_SLOWEST = 0.99
_DEVIATIONS = 2.326  # the same share of a normal distribution lies below its mean and so many deviations
_BYTES_A_TOKEN = 4.0  # of a prompt, where only tokens are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one call took: seconds by the clock, its charge in seconds, and its size; tokens are None if not told."""

    seconds: float
    charge: float
    prompt_bytes: int
    reply_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What calls usually take: the slowest of a hundred by clock and by charge, and means of their sizes."""

    seconds: float
    charge: float
    prompt_bytes: float
    reply_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """How long a call may take by the clock, and how much it may be charged; `usual_s` is what that rests on."""

    seconds: float
    charge: float
    usual_s: float

    def over(self, seconds: float, charge: float, *, patience_s: float = 0.0) -> bool:
        """Whether a call that has come so far has stalled; `patience_s` is for a load that may be in it."""
        return seconds > max(LEAST_S, self.seconds) + patience_s and charge > self.charge


class History:
    """The calls of one actor in this run."""

    def __init__(self) -> None:
        self._newest: deque[Taken] = deque(maxlen=_KEPT)
        self._count = 0
        self._usual: Usual | None = None

    def add(self, taken: Taken) -> None:
        """A call went well."""
        self._newest.append(taken)
        self._count += 1
        if self._count >= ENOUGH and self._count % _AGAIN == 0:
            self._usual = usual(self._newest)

    @property
    def usual(self) -> Usual | None:
        """What its calls take; None while there were too few of them."""
        return self._usual


def usual(calls: Sequence[Taken]) -> Usual | None:
    """What these calls take; None if nobody told how long their replies were."""
    told = [call.reply_tokens for call in calls if call.reply_tokens]
    if not told:
        return None
    return Usual(
        seconds=_slowest([call.seconds for call in calls]),
        charge=_slowest([call.charge for call in calls]),
        prompt_bytes=sum(call.prompt_bytes for call in calls) / len(calls),
        reply_tokens=sum(told) / len(told),
    )


def usual_of_rates(rates: Iterable[TurnRate]) -> Usual | None:
    """What turns took in earlier runs, from the sums that are kept of them; None if they were too few.

    Charges are taken to be spread log-normally, and the clock to have shown as many times the charge as turns were in
    flight.
    """
    known = [rate for rate in rates if rate.turns and rate.seconds > 0]
    turns = sum(rate.turns for rate in known)
    replies = sum(rate.reply_tokens for rate in known)
    if turns < ENOUGH or not replies:
        return None
    charges = [(rate.in_flight, _slowest_charge(rate)) for rate in known]
    return Usual(
        seconds=max(in_flight * charge for in_flight, charge in charges),
        charge=max(charge for _, charge in charges),
        prompt_bytes=_BYTES_A_TOKEN * sum(rate.prompt_tokens for rate in known) / turns,
        reply_tokens=replies / turns,
    )


def allowed(known: Iterable[Usual | None], prompt_bytes: int, reply_limit: int) -> Allowed | None:
    """What a call may take, by whichever of these histories allows more; None if there is none."""
    made = [_allowed(each, prompt_bytes, reply_limit) for each in known if each is not None]
    if not made:
        return None
    return Allowed(
        seconds=max(each.seconds for each in made),
        charge=max(each.charge for each in made),
        usual_s=max(each.usual_s for each in made),
    )


def _allowed(known: Usual, prompt_bytes: int, reply_limit: int) -> Allowed:
    longer = max(
        1.0, prompt_bytes / known.prompt_bytes if known.prompt_bytes else 1.0, reply_limit / known.reply_tokens
    )
    return Allowed(
        seconds=FACTOR * longer * known.seconds, charge=FACTOR * longer * known.charge, usual_s=known.seconds
    )


def _slowest(values: list[float]) -> float:
    return sorted(values)[math.ceil(_SLOWEST * len(values)) - 1]


def _slowest_charge(rate: TurnRate) -> float:
    mean = rate.seconds / rate.turns
    spread = math.log(max(1.0, rate.squares / rate.turns / mean**2))
    return mean * math.exp(_DEVIATIONS * math.sqrt(spread) - spread / 2)
