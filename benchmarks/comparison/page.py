"""The comparison's part of docs/explanation/performance.md: what stands between two comments, and nothing else."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/explanation/performance.md"
BEGINS = "<!-- comparison begins: written by python -m benchmarks.comparison --docs -->"
ENDS = "<!-- comparison ends -->"


def with_part(page: str, part: str) -> str:
    """The page with another part.

    Raises:
        ValueError: the two comments do not stand in it, once each and in order.
    """
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends or BEGINS in rest or ENDS in after:
        raise ValueError(f"the page needs {BEGINS} and {ENDS}, once each and in this order")
    return f"{before}{BEGINS}\n\n{part.strip()}\n\n{ENDS}{after}"


def write(part: str, page: Path = PAGE) -> None:
    """Put the part into the page. Raises ValueError."""
    page.write_text(with_part(page.read_text(encoding="utf-8"), part), encoding="utf-8")
