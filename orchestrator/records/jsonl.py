"""Reads JSONL: each line is a record of its own, so one bad line never spoils another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.lines import Line, Meter, open_text, read_lines
from orchestrator.records.record import Bad, Flaw, Good, RecordSpec, admit, bad, too_long, wrong_byte
from orchestrator.strict_json import JsonError, parse_object


def read_jsonl(path: Path, spec: RecordSpec, limits: Limits, meter: Meter) -> Iterator[Good | Bad]:
    """Yield one value for each line that is not blank."""
    with open_text(path) as stream:
        first = True
        for line in read_lines(stream, limits.longest_line, meter):
            if line.whole and not line.raw.strip():
                continue
            if first and line.raw.lstrip().startswith(b"["):
                raise IntakeError(
                    f"{path} is one JSON array, not a record on each line: convert it (jq -c '.[]' FILE > NEW.jsonl)"
                )
            first = False
            yield _record(line, spec, limits)


def _record(line: Line, spec: RecordSpec, limits: Limits) -> Good | Bad:
    if not line.whole:
        return bad(line.number, too_long(line.size, limits), line.raw)
    try:
        fields = parse_object(line.raw.decode(), limits)
    except UnicodeDecodeError as error:
        return bad(line.number, wrong_byte(line.raw, error, line.number), line.raw)
    except JsonError as error:
        return bad(line.number, Flaw(what=error.what, mend=error.mend), line.raw)
    key = admit(fields, spec, limits)
    if isinstance(key, Flaw):
        return bad(line.number, key, line.raw)
    return Good(line=line.number, key=key, payload=fields)
