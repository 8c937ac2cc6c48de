"""Times as a person gives them, on the clock of this place."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def moment(text: str, now: datetime) -> datetime:
    """The moment that a person means, in the zone of this place: `07:30` is the next such time, else ISO.

    Raises:
        ValueError: it is no time, or it is over; the message says which.
    """
    if clock := _CLOCK.fullmatch(text.strip()):
        return _next(time(int(clock[1]), int(clock[2])), now)
    try:
        # A time without a zone is one of this place.
        found = datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time: give one as 07:30 or as 2026-11-22T07:30") from error
    if found <= now:
        raise ValueError(f"{text!r} is over already")
    return found


def _next(clock: time, now: datetime) -> datetime:
    today = now.astimezone().date()
    found = datetime.combine(today, clock).astimezone()
    return found if found > now else datetime.combine(today + timedelta(days=1), clock).astimezone()
