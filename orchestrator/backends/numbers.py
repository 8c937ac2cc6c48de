"""Numbers as servers give them: each is one that can be reckoned with and stored, or it is none at all.

JSON as servers write it knows NaN, infinities and whole numbers of any length, and a count may come as text or as
true. A number that nobody can use is no reason to lose a good reply: it is read as one that was not given.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

_MOST = 2**31  # tokens or requests
_LONGEST_S = 7 * 24 * 3600.0  # no call and no load takes a week
_LARGEST = 2**50  # bytes: a PiB, more than any model's file
_LONGEST_WAIT_S = 3600.0


def tokens(value: object) -> int | None:
    """A count as a server gave it; None for anything that is no count, or more than any model reads."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None


def seconds(value: object, unit: float) -> float | None:
    """A duration as a server gave it, in units of `unit` seconds; None for anything that is none, or over a week."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # Compared before it is multiplied: a whole number may be too large for that. NaN is in no range.
    return value * unit if 0 <= value <= _LONGEST_S / unit else None


def gib(value: object) -> float | None:
    """A size in bytes as a server gave it, in GiB; None for anything that is no size of a model."""
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return size / 2**30 if 0 < size < _LARGEST else None


def requests(text: str) -> float:
    """A number of requests as a page of metrics writes it. Raises ValueError for anything else."""
    value = float(text)
    if not 0 <= value < _MOST:
        raise ValueError(f"{text} is no number of requests")
    return value


def wait_s(retry_after: str, date: str) -> float | None:
    """What a Retry-After asks for, an hour at most: seconds, or a time, which is measured by the answer's own Date."""
    if retry_after.isdecimal():
        return min(float(retry_after), _LONGEST_WAIT_S)
    try:
        until, now = (parsedate_to_datetime(each) for each in (retry_after, date))
        return max(0.0, min((until - now).total_seconds(), _LONGEST_WAIT_S))
    except (ValueError, TypeError, OverflowError):
        return None
