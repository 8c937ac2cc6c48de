"""Markdown from plain values: the head of a page, tables, blocks of code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_HEAD = "<!-- Generated from the code by `make docs`. Change the code, not this file. -->"


def document(title: str, *parts: str) -> str:
    """A whole page; the parts are set apart by blank lines."""
    return "\n\n".join([_HEAD, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars and line breaks in its cells are made harmless."""
    lines = [_row(columns), _row(["---"] * len(columns)), *(_row([_cell(cell) for cell in row]) for row in rows)]
    return "\n".join(lines)


def block(language: str, text: str) -> str:
    """A block of code."""
    body = text.strip("\n")
    return f"```{language}\n{body}\n```"


def mark(text: str) -> str:
    """Text in the style of code; nothing for nothing."""
    return f"`{text}`" if text else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
