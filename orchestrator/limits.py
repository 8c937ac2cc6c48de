"""How large one record may be: bounds that keep memory flat whatever a file or a model says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one record; what exceeds them is reported, never cut."""

    longest_line: int = 1 << 20  # bytes of a line, of a CSV row with all its lines, characters of a Parquet row
    depth: int = 64  # objects and lists inside each other, the record itself included
    longest_key: int = 200  # characters
    digits: int = 400  # of an integer


LIMITS = Limits()
