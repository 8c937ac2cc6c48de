"""Options that several commands share, and how a command gets at its workplace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestrator.app.workplace import Workplace

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
    int | None,
    typer.Option("--max-workers", min=1, max=4096, help="Turns in flight on each endpoint.", show_default=False),
]
Home = Annotated[Path, typer.Option("--home", "-C", help="The folder to work in.", file_okay=False, exists=True)]
Database = Annotated[Path | None, typer.Option("--database", help="The SQLite file.", show_default=False)]


def workplace(context: typer.Context, **flags: Any) -> Workplace:
    """The workplace that the global options name. Raises ConfigError."""
    from orchestrator.app.workplace import open_workplace

    return open_workplace(context.obj["home"], {"database": context.obj["database"], **flags})
