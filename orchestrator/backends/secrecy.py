"""Takes the key out of what a server answers: it goes into turns, messages and tables.

A body may hold the key as it is, which is found in no time. It may also escape it, once or several times over, or hold
it in pieces; such a body is looked through after it was decoded. To look through every body would cost more than
decoding it, so one that escapes no character of the key is left alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from orchestrator.redaction import STARS, spelled

_HTML = re.compile(rb"&(?:#|amp;|lt;|gt;|quot;)")


def hides(body: bytes, key: str) -> bool:
    """Whether a body escapes a character of the key, so that the key may stand there unseen."""
    return any(pattern.search(body) for pattern in _escapes(key))


def without_key(value: Any, key: str) -> Any:
    """A decoded JSON value with stars for the key in every text and name of it, in whatever spelling.

    Raises:
        RecursionError: it is nested too deep.
    """
    match value:
        case str():
            return spelled(key).sub(STARS, value)
        case list():
            return [without_key(each, key) for each in value]
        case dict():
            return {without_key(name, key): without_key(each, key) for name, each in value.items()}
    return value


@lru_cache(maxsize=64)
def _escapes(key: str) -> tuple[re.Pattern[bytes], ...]:
    """What stands for a character of the key, or for the backslash of an escape; each pattern begins with one octet."""
    wide = f"{key}\\".encode("utf-16-be")
    units = b"|".join(sorted({wide[at : at + 2].hex().encode() for at in range(0, len(wide), 2)}))
    # No backslash before a letter stands for that letter.
    bare = re.escape("".join(sorted({one for one in key if not one.isalnum()}))).encode()
    escaped = rb"\\(?:u(?i:" + units + rb")" + (rb"|[" + bare + rb"])" if bare else rb")")
    octets = b"|".join(sorted({f"{octet:02x}".encode() for octet in key.encode()}))
    return re.compile(escaped), re.compile(rb"%(?i:" + octets + rb")"), _HTML
