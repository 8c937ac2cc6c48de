"""What a record must have to be judged: a key and its required fields; said the same for every format."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain import Payload
from orchestrator.limits import Limits

LONGEST_RAW = 2_000  # characters of a bad line that are kept
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec:
    """Which fields a debate reads. Other fields are kept in the payload."""

    key: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A record that can be stored. `line` counts from 1; in Parquet it is the row."""

    line: int
    key: str
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A record that cannot be stored. `raw` is its beginning, wrong bytes written as \\xNN."""

    line: int
    what: str
    mend: str
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong with a record, and what to do about it."""

    what: str
    mend: str


def admit(fields: Mapping[str, Any], spec: RecordSpec, limits: Limits) -> str | Flaw:
    """Return the record's key, or the first thing that is wrong with it."""
    key = _key(fields, spec.key, limits)
    if isinstance(key, Flaw):
        return key
    for name in spec.required:
        flaw = _absence(fields, name)
        if flaw:
            return flaw
    return key


def missing(name: str, existing: Iterable[str], noun: str = "field") -> Flaw:
    """Say that `name` is missing, and which existing name may be meant."""
    near = _nearest(name, existing)
    mend = f"is {near[:60]!r} meant? Rename it" if near else f"add the {noun}"
    return Flaw(what=f"the {noun} {name!r} is missing", mend=mend)


def wrong_byte(raw: bytes, error: UnicodeDecodeError, line: int) -> Flaw:
    """Say which byte of a line is not UTF-8; bytes of a line count from 1."""
    what = f"line {line} is not UTF-8: its byte {error.start + 1} is 0x{raw[error.start]:02x}"
    return Flaw(what=what, mend="convert the file: iconv -f latin1 -t utf-8 FILE > NEW")


def too_long(size: int, limits: Limits) -> Flaw:
    """Say that a record is longer than allowed."""
    what = f"{size:,} bytes long; the limit is {limits.longest_line:,}"
    return Flaw(what=what, mend="shorten the record, or raise the limit on the longest line")


def bad(line: int, flaw: Flaw, raw: bytes | str) -> Bad:
    """Join a flaw with where it was found."""
    if isinstance(raw, bytes):
        raw = raw[: LONGEST_RAW * 4].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return Bad(line=line, what=flaw.what, mend=flaw.mend, raw=raw[:LONGEST_RAW])


def _absence(fields: Mapping[str, Any], name: str) -> Flaw | None:
    if name not in fields:
        return missing(name, fields)
    value = fields[name]
    if value is None:
        return Flaw(what=f"the field {name!r} is null", mend="fill it in, or leave the record out")
    if value in ([], {}) or (isinstance(value, str) and not value.strip()):
        return Flaw(what=f"the field {name!r} is empty", mend="fill it in, or leave the record out")
    return None


def _key(fields: Mapping[str, Any], name: str, limits: Limits) -> str | Flaw:
    absence = _absence(fields, name)
    if absence:
        return Flaw(what=f"{absence.what}; it is the record's key", mend=absence.mend)
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, str | int):
        what = f"the key {name!r} is neither text nor a whole number"
        return Flaw(what=what, mend='write the key as text, such as "17"')
    key = str(value)
    if len(key) > limits.longest_key:
        what = f"the key {name!r} has {len(key):,} characters; the limit is {limits.longest_key}"
        return Flaw(what=what, mend="use a shorter key, such as a number or a hash")
    found = _UNPRINTABLE.search(key)
    if found:
        what = f"the key {name!r} holds the control character U+{ord(found[0]):04X}"
        return Flaw(what=what, mend="take the character out of the key")
    return key


def _nearest(name: str, existing: Iterable[str]) -> str | None:
    names = [one for one in existing if len(one) <= 2 * len(name) + 10][:200]
    folded = {one.strip().casefold(): one for one in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None
