"""Writes what the fault suite found into the documents, so that nobody types a figure.

python -m scripts.fault_report [--take build/faults.jsonl] [--check]

The suite appends one line a scenario to build/faults.jsonl. `--take` keeps the newest line of each in
docs/explanation/faults.jsonl, in place of what was kept of a suite of that length before, and prints them. From the
kept lines the tables in docs/explanation/guarantees.md and the headline in README.md are written, between their
markers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs/explanation/faults.jsonl"
BEGIN, END = "<!-- faults: written by scripts/fault_report.py -->", "<!-- /faults -->"
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.S)
_NUMBER = re.compile(r"F(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came of one scenario; `length` is short or long, `verified` counts the databases that were looked over."""

    name: str
    length: str
    seed: int
    points: int
    survived: int
    lost: int
    doubled: int
    repeated: int
    most: int
    verified: int


def read(path: Path) -> list[Line]:
    """The lines of a file, the newest of each scenario and length, in order of the faults' numbers."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = [Line(**json.loads(each)) for each in text.splitlines()]
    newest = {(line.name, line.length): line for line in found}
    return sorted(newest.values(), key=lambda line: (_number(line), line.name, line.length))


def take(new: Iterable[Line], kept: Iterable[Line]) -> list[Line]:
    """The lines to keep: the new ones, and of those kept before the ones of a length that was not run again."""
    new = list(new)
    lengths = {line.length for line in new}
    return [*new, *(line for line in kept if line.length not in lengths)]


def headline(lines: Sequence[Line]) -> str:
    """One sentence of all scenarios, each as the longest suite found it; without NORMAL, which promises less."""
    promised = [line for line in lines if "synchronous NORMAL" not in line.name]
    longest = {line.name: line for line in sorted(promised, key=lambda line: line.length == "long")}.values()
    steps = sum(line.points for line in longest if _number(line) == 1)
    faults, most = sum(line.points for line in longest), max((line.most for line in longest), default=0)
    lost, doubled = sum(line.lost for line in longest), sum(line.doubled for line in longest)
    verified = sum(line.verified for line in longest)
    return (
        f"Killed at each of {steps:,} steps, and {faults:,} faults put in altogether: "
        f"**{lost:,} turns lost, {doubled:,} doubled**, at most {most:,} calls made again after one fault. "
        f"`orchestrate db verify` has looked over {verified:,} databases that they left behind."
    )


def table(lines: Sequence[Line]) -> str:
    """One row a scenario, for each suite that was run."""
    rows = [
        "| scenario | suite | seed | faults | survived | lost | doubled | calls repeated | most after one | verified |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        told = " | ".join(f"{figure:,}" for figure in _figures(line))
        rows.append(f"| {line.name} | {line.length} | {line.seed} | {told} |")
    return "\n".join(rows)


def printed(lines: Sequence[Line]) -> str:
    """A line a scenario and the headline, for a terminal."""
    words = ("faults", "survived", "lost", "doubled", "repeated", "at most", "verified")
    rows: list[tuple[str, ...]] = [("scenario", "suite", "seed", *words)]
    rows += [(line.name, line.length, str(line.seed), *(f"{each:,}" for each in _figures(line))) for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    told = (
        [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
        for name, *cells in rows
    )
    return "\n".join(["  ".join(cells) for cells in told] + ["", headline(lines)])


def _figures(line: Line) -> tuple[int, ...]:
    return line.points, line.survived, line.lost, line.doubled, line.repeated, line.most, line.verified


PAGES: Mapping[Path, Callable[[Sequence[Line]], str]] = {
    ROOT / "README.md": headline,
    ROOT / "docs/explanation/guarantees.md": lambda lines: f"{headline(lines)}\n\n{table(lines)}",
}


def written(page: str, text: str) -> str:
    """The page with this text between its markers. Raises ValueError if it has none."""
    if not _BETWEEN.search(page):
        raise ValueError(f"no place for the figures: put {BEGIN} and {END} where they belong")
    return _BETWEEN.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page)


def stale(lines: Sequence[Line]) -> list[Path]:
    """The pages that do not say what the kept lines say."""
    pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
    return [path for path, make in PAGES.items() if written(pages[path], make(lines)) != pages[path]]


def _number(line: Line) -> int:
    found = _NUMBER.match(line.name)
    return int(found[1]) if found else 0


def _keep(lines: Iterable[Line]) -> None:
    ordered = sorted(lines, key=lambda line: (_number(line), line.name, line.length))
    text = "".join(json.dumps({name: getattr(line, name) for name in Line.__slots__}) + "\n" for line in ordered)
    KEPT.write_text(text, encoding="utf-8")


def main() -> int:
    """Write, or with --check only compare; exit 1 names the stale pages."""
    parser = argparse.ArgumentParser(description="Write what the fault suite found into the documents.")
    parser.add_argument("--take", type=Path, help="keep the lines of this file first")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale pages")
    wanted = parser.parse_args()
    if wanted.take is not None and not wanted.check:
        found = read(wanted.take)
        _keep(take(found, read(KEPT)))
        print(printed(found))
    lines = read(KEPT)
    outdated = stale(lines)
    for path in outdated:
        if wanted.check:
            print(f"stale: {path.relative_to(ROOT)}; run python -m scripts.fault_report", file=sys.stderr)
        else:
            path.write_text(written(path.read_text(encoding="utf-8"), PAGES[path](lines)), encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")
    return int(wanted.check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
