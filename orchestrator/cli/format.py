"""How numbers and times are written."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.unseen import escaped


def duration(seconds: float) -> str:
    """Seconds in the one or two largest units that matter: 4.2 s, 42 s, 5 min 10 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return _units(whole // 60, "min", whole % 60, "s")
    return _units(whole // 3600, "h", whole % 3600 // 60, "min")


def _units(large: int, name: str, small: int, small_name: str) -> str:
    return f"{large} {name} {small} {small_name}" if small else f"{large} {name}"


def interval(seconds: float, low: float | None, high: float | None) -> str:
    """A time with the interval around it: 2 h 10 min (1 h 58 min to 2 h 22 min)."""
    if low is None or high is None:
        return duration(seconds)
    return f"{duration(seconds)} ({duration(low)} to {duration(high)})"


def counted(count: int, what: str) -> str:
    """A number of things: 1 load, 1,204 loads."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def by_count(count: int, one: str, more: str) -> str:
    """The word that goes with a number of things: was, were."""
    return one if count == 1 else more


def clock_time(at: datetime, now: datetime) -> str:
    """A time to come on the clock of this place, with its date unless it is the next such time: 2026-11-23 07:30."""
    local = at.astimezone()
    return f"{local:%H:%M}" if at - now < timedelta(days=1) else f"{local:%Y-%m-%d %H:%M}"


def visible(text: str) -> str:
    """Text from records and models as a terminal may show it: what nobody sees is written out."""
    return escaped(text)
