"""Writes docs/reference/ and a page of docs/howto/ from the code, so that they say nothing else than the code does.

python -m scripts.generate_docs [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.reference import command_line, debate, errors, failures, schema, settings, states

FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "command-line.md": command_line.page,
    "settings.md": settings.page,
    "states.md": states.page,
    "debate.md": debate.page,
    "schema.md": schema.page,
    "errors.md": errors.page,
    "../howto/failures.md": failures.page,
}


def stale() -> list[Path]:
    """The files that are missing or do not say what the code says."""
    return [FOLDER / name for name, text in _texts().items() if _read(FOLDER / name) != text]


def write() -> list[Path]:
    """Write the files that are stale; which they were."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in _texts().items():
        path = FOLDER / name
        if _read(path) != text:
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def _texts() -> dict[str, str]:
    return {name: page() for name, page in PAGES.items()}


def _named(path: Path) -> Path:
    """A page's path from the folder of the whole."""
    return path.resolve().relative_to(FOLDER.parents[1])


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> int:
    """Write, or with --check only compare; exit 1 names the stale files."""
    parser = argparse.ArgumentParser(description="Write docs/reference/ from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    if not parser.parse_args().check:
        for path in write():
            print(f"written: {_named(path)}")
        return 0
    found = stale()
    for path in found:
        print(f"stale: {_named(path)}; run make docs", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
