"""How numbers and times are written."""

from __future__ import annotations

import re

_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def duration(seconds: float) -> str:
    """Seconds in the largest units that matter: 42 s, 5 min 10 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def visible(text: str) -> str:
    """Text from records and models as a terminal may show it: control and bidi characters are written out."""
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
