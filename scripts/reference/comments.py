"""The meanings that stand beside names in the code, as comments at the end of their lines."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from enum import StrEnum
from types import ModuleType


def member_meanings(words: type[StrEnum]) -> dict[str, str]:
    """Values of an enum, each with its comment.

    Raises:
        ValueError: a member has none.
    """
    comments = field_meanings(words)
    meanings = {member.value: comments.get(member.name, "") for member in words}
    if bare := [value for value, meaning in meanings.items() if not meaning]:
        raise ValueError(f"{words.__name__} does not say what these mean: {', '.join(bare)}")
    return meanings


def field_meanings(owner: type) -> dict[str, str]:
    """Names that a class sets or declares, with the comments beside those that have one."""
    source = textwrap.dedent(inspect.getsource(owner))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 -- getsource of a class gives a class
    comments = _comments(source)
    return {name: comments[line] for name, line in _names(definition.body) if line in comments}


def column_meanings(module: ModuleType) -> dict[tuple[str, str], str]:
    """Tables and columns that a module declares, with the comments beside those that have one."""
    source = inspect.getsource(module)
    comments = _comments(source)
    found = {}
    for call in _calls(ast.parse(source), "Table"):
        for column in call.args:
            if isinstance(column, ast.Call) and _called(column) == "Column":
                line = column.end_lineno or 0
                if line in comments:
                    found[_text(call.args[0]), _text(column.args[0])] = comments[line]
    return found


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    for statement in body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0] if isinstance(statement.targets[0], ast.Name) else None
        if isinstance(target, ast.Name):
            yield target.id, statement.end_lineno or 0


def _comments(source: str) -> dict[int, str]:
    """Comments that share their line with code, by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokens
        if token.type == tokenize.COMMENT and not token.line.lstrip().startswith("#")
    }


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == name:
            yield node


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.expr) -> str:
    return str(ast.literal_eval(node))
