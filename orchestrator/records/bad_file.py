"""The bad rows of a file as JSONL, so that they can be mended and submitted again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from orchestrator.records.atomic import replacing
from orchestrator.records.record import Bad


def write_bad_rows(path: Path, rows: Iterable[Bad]) -> int:
    """Write the rows, replacing an older file, and return how many."""
    count = 0
    with replacing(path) as stream:
        for row in rows:
            fields = {"line": row.line, "what": row.what, "mend": row.mend, "raw": row.raw}
            stream.write(json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
            count += 1
    return count
