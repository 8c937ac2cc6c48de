"""What `doctor` says: one finding for each thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a finding stands."""

    GOOD = "good"
    NOTE = "note"  # works, but worth knowing
    BAD = "bad"  # a run would fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at: what was found and, unless it is good, what to do about it."""

    about: str
    health: Health
    text: str


def good(about: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(about=about, health=Health.GOOD, text=text)


def note(about: str, text: str) -> Finding:
    """It works, but is worth knowing."""
    return Finding(about=about, health=Health.NOTE, text=text)


def bad(about: str, text: str) -> Finding:
    """A run would fail."""
    return Finding(about=about, health=Health.BAD, text=text)
