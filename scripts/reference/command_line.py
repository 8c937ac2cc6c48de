"""docs/reference/command-line.md: every command with its arguments, options and defaults, from the Typer app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from orchestrator.cli.commands import app
from scripts.reference.markdown import document, mark, table

# Typer's own; which of them there are depends on what is installed.
_COMPLETION = {"install_completion", "show_completion"}
_NAME = "orchestrate"
_INTRO = """\
Results go to standard output, progress and errors to standard error. With `--json`, standard output is JSON.
Every command takes `--help`. The global options stand before the command: `orchestrate --home night status`.

| exit code | meaning |
| --- | --- |
| 0 | done; tasks that failed are counted, and are no failure of the command as long as one verdict was given |
| 1 | a failure, said in one line with what to do next; of a run also: all of its tasks failed, or more of them than \
`--max-failures` allows; of `doctor`, `db check` and `db verify`: something is wrong |
| 2 | wrong usage |
| 130 | interrupted; what was finished is stored, and the same command goes on |

A night in which 38 of 40 tasks failed ends with 0. Give `--max-failures 5%`, or set `max_failures`, and it ends with 1;
or let a script read `failed` in the last line of `process-pending --json`."""


def page() -> str:
    """The page."""
    root: Any = typer.main.get_command(app)
    contents = table(["command", "what it does"], [[_link(path), _help(command)] for path, command in _commands(root)])
    parts = [_section(path, command) for path, command in _commands(root)]
    return document("The command line", _INTRO, contents, "## Global options", _options(root), *parts)


def _commands(group: Any, path: str = _NAME) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _link(path: str) -> str:
    return f"[{mark(path)}](#{path.replace(' ', '-')})"


def _section(path: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if not _is_option(parameter)]
    usage = " ".join([path, *(_metavar(argument) for argument in arguments), "[OPTIONS]"])
    return "\n\n".join([f"## {path}", _help(command), mark(usage), _options(command)])


def _options(command: Any) -> str:
    rows = [
        [_spelling(parameter), _meaning(parameter), _default(parameter)]
        for parameter in command.params
        if parameter.name not in _COMPLETION
    ]
    return table(["option or argument", "meaning", "default"], rows)


def _help(command: Any) -> str:
    return " ".join((command.help or "").split())


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _metavar(argument: Any) -> str:
    name = argument.name.upper()
    return name if argument.required else f"[{name}]"


def _spelling(parameter: Any) -> str:
    if not _is_option(parameter):
        return mark(_metavar(parameter))
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    return ", ".join(mark(name + value) for name in parameter.opts)


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation.__name__
    return parameter.metavar or {"int": "N", "Path": "PATH"}.get(kind, "TEXT")


def _meaning(parameter: Any) -> str:
    bounds = ""
    if parameter.min is not None:
        bounds = f" ({parameter.min} to {parameter.max})" if parameter.max is not None else ""
    return f"{(parameter.help or '').rstrip('.')}{bounds}."


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if _is_option(parameter) and parameter.is_flag:
        return "off"
    return "" if parameter.default is None else mark(str(parameter.default))
