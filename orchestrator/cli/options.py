"""Options that several commands share, and how a command gets at its workplace."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.moments import moment

if TYPE_CHECKING:
    from orchestrator.app.workplace import Workplace

_MOST_WORKERS = 4096


def _workers(text: str) -> str:
    """A number of workers, or auto; the settings take both as text."""
    if text != "auto" and not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_WORKERS):
        raise typer.BadParameter(f"{text!r} is neither auto nor a number from 1 to {_MOST_WORKERS}")
    return text


def _ceiling(text: str) -> str:
    """A number of tasks or a per cent of them; the settings take both as text."""
    from orchestrator.config import failures_allowed

    try:
        return failures_allowed(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _moment(text: str) -> datetime:
    try:
        return moment(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Debate = Annotated[str | None, typer.Option("--debate", "-d", help="Only this debate.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Keys = Annotated[
    list[str] | None, typer.Option("--key", "-k", help="Only this record; may be given again.", show_default=False)
]
OnlyClass = Annotated[
    str | None,
    typer.Option("--class", help="Only errors of this class, as `orchestrate errors` shows them.", show_default=False),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--max-workers",
        parser=_workers,
        metavar="N|auto",
        help="Turns in flight on each endpoint, 1 to 4096; auto finds out.",
        show_default=False,
    ),
]
MaxFailures = Annotated[
    str | None,
    typer.Option(
        "--max-failures",
        parser=_ceiling,
        metavar="N|N%",
        help="Stop once more tasks than that have failed; a per cent counts from the 20th task on.",
        show_default=False,
    ),
]
Before = Annotated[
    datetime | None,
    typer.Option(
        "--before",
        parser=_moment,
        metavar="TIME",
        help="Say how many verdicts fit before a time: 07:30 (the next one here), or 2026-11-22T07:30.",
        show_default=False,
    ),
]
Home = Annotated[Path, typer.Option("--home", "-C", help="The folder to work in.", file_okay=False, exists=True)]
Database = Annotated[Path | None, typer.Option("--database", help="The SQLite file.", show_default=False)]


def workplace(context: typer.Context, **flags: Any) -> Workplace:
    """The workplace that the global options name. Raises ConfigError."""
    from orchestrator.app.workplace import open_workplace

    return open_workplace(context.obj["home"], {"database": context.obj["database"], **flags})
