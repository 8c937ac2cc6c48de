"""Keeps the API keys that were read out of whatever this program writes about its own failures.

No message is written with a key in it; this is for those nobody wrote: tracebacks, and the logs of libraries.
"""

from __future__ import annotations

import html
import logging
import re
import sys
import threading
import traceback
from functools import lru_cache
from types import TracebackType

STARS = "***"
_FEWEST = 4  # characters: a shorter key would make stars of ordinary words

_keys: set[str] = set()


def keep_out(key: str) -> None:
    """From now on no traceback and no log line shows this key."""
    if len(key) >= _FEWEST:
        _keys.add(key)


def redacted(text: str) -> str:
    """The text with stars for every key, also where it is escaped as JSON, URLs or HTML escape it."""
    # A key may begin with another, whose stars would leave the rest of it.
    for key in sorted(_keys, key=len, reverse=True):
        text = spelled(key).sub(STARS, text)
    return text


@lru_cache(maxsize=64)
def spelled(key: str) -> re.Pattern[str]:
    """A pattern of a key in any mixture of the spellings that servers answer with."""
    return re.compile("".join(_spellings(one) for one in key))


def install() -> None:
    """Redact uncaught errors of every thread, and log records that nobody else writes out."""
    sys.excepthook = _say
    threading.excepthook = _say_of_thread
    if logging.lastResort is not None and not any(isinstance(each, _Filter) for each in logging.lastResort.filters):
        logging.lastResort.addFilter(_Filter())


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info:
            # A formatter takes this text instead of writing one.
            record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info)))
        return True


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _say_of_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and what.exc_type is not SystemExit:
        _say(what.exc_type, what.exc_value, what.exc_traceback)


def _spellings(character: str) -> str:
    number = ord(character)
    wide = character.encode("utf-16-be", "surrogatepass")
    units = (rf"\\{{1,8}}u(?i:{wide[at : at + 2].hex()})" for at in range(0, len(wide), 2))
    ways = [rf"\\{{0,8}}{re.escape(character)}", "".join(units)]
    ways.append(rf"&\#(?:0{{0,6}}{number}|(?i:x0{{0,6}}{number:x}));")
    ways.append(re.escape(html.escape(character)))
    ways.append("".join(f"%(?i:{octet:02x})" for octet in character.encode("utf-8", "surrogatepass")))
    return f"(?:{'|'.join(ways)})"
