"""What one value becomes in a file: checked against its column's kind, and harmless in a spreadsheet."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import OrchestrateError
from orchestrator.unseen import escaped, restored, reversible

Kind = Literal["text", "integer", "number", "json", "time"]

# How an export of ours begins. Its cells are read back as they were; those of other files are taken as they stand.
OWN_COLUMNS = ["key", "source", "revision", "debate", "digest"]
OWN_RECORD = "record"  # its column of whole records, which is JSON

# What a spreadsheet passes over before it looks for a formula.
_LEADING = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a file. `json` is an object in JSONL and its text elsewhere; `time` is in UTC."""

    name: str
    kind: Kind = "text"


def value_of(value: object, column: Column) -> Any:
    """Return the value as its column's kind, or raise `OrchestrateError`; None stays None."""
    if value is None:
        return None
    match column.kind:
        case "text":
            return str(value)
        case "integer":
            return _integer(value, column)
        case "number":
            return _number(value, column)
        case "time":
            return _time(value, column)
        case "json":
            return value


def json_text(value: object, column: Column) -> str:
    """Return the value as compact JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise OrchestrateError(f"the column {column.name!r} cannot be written as JSON ({error})") from error


def storable(text: str) -> str:
    """Return the text with half surrogate pairs, which UTF-8 cannot hold, written as \\uXXXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def harmless(text: str) -> str:
    """Return the text as a CSV cell: no spreadsheet takes it for a formula, and nothing in it is invisible."""
    shown = reversible(text)
    return f"'{shown}" if _is_formula(text.lstrip("'")) else shown


def as_it_was(cell: str) -> str:
    """Return the text that `harmless` made this cell from."""
    text = restored(cell)
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def visible(text: str) -> str:
    """Return JSON text with its invisible characters as JSON escapes: the same value."""
    return escaped(text)


def _is_formula(text: str) -> bool:
    if text.startswith(("\t", "\r")):
        return True
    first = _LEADING.sub("", text, count=1)[:1]
    # NFKC folds the full-width and small variants, which some spreadsheets read as the plain sign.
    return unicodedata.normalize("NFKC", first) in {"=", "+", "-", "@", "\u2212"}


def _integer(value: object, column: Column) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise _misfit(value, column, "a whole number of 64 bits")
    return value


def _number(value: object, column: Column) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _misfit(value, column, "a finite number")
    return float(value)


def _time(value: object, column: Column) -> dt.datetime:
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise _misfit(value, column, "a time with a zone")
    return value.astimezone(dt.UTC)


def _misfit(value: object, column: Column, wanted: str) -> OrchestrateError:
    return OrchestrateError(f"the column {column.name!r} holds {repr(value)[:60]}, which is not {wanted}")
