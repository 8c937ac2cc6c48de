"""Jinja2 with the doors shut: sandboxed, bounded, strict, and an empty value is an error like an unknown one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateRuntimeError, Undefined, meta, nodes
from jinja2.exceptions import SecurityError

from orchestrator import sandbox

LONGEST_RENDERING = sandbox.LONGEST_VALUE
_PRINTED = (str, int, float, list, tuple, Mapping)


class EmptyValueError(TemplateError):
    """A template printed a value that is empty."""


def _printed(value: Any) -> Any:
    # An `if` without `else` gives Jinja's lenient Undefined, whatever the environment's own is.
    if value is None or value == "" or isinstance(value, Undefined):
        raise EmptyValueError("prints an empty value; put it into {% if … %}, or make the field a required one")
    if not isinstance(value, _PRINTED):
        raise SecurityError(f"prints what is no value of a record ({type(value).__name__})")
    return sandbox.paid(value)


_ENVIRONMENT = sandbox.environment(_printed)


@lru_cache(maxsize=256)
def compiled(text: str) -> Template:
    """The template of a text. Raises jinja2.TemplateSyntaxError."""
    return sandbox.compiled(_ENVIRONMENT, text)


def variables(text: str) -> dict[str, int]:
    """Names that a template takes from outside, each with the line it first stands in.

    Raises:
        jinja2.TemplateSyntaxError: it is no template, or uses what is not in the language of prompts.
    """
    tree = sandbox.parsed(_ENVIRONMENT, text)
    outside = meta.find_undeclared_variables(tree) - {"range"}
    lines: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in outside:
            lines[name.name] = min(name.lineno, lines.get(name.name, name.lineno))
    return lines


def _refuse_other(values: Mapping[str, Any]) -> None:
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif value is not None and type(value) not in (str, int, float, bool):
            raise SecurityError(f"is given what is no plain value ({type(value).__name__})")


def render(text: str, values: Mapping[str, Any]) -> str:
    """A template filled in.

    Raises:
        jinja2.TemplateError: a value that JSON does not have, an unknown or empty variable, a result of over 1,000,000
            characters, more work than a rendering may do, or an operation that the value does not take.
    """
    parts = []
    length = 0
    try:
        _refuse_other(values)
        with sandbox.budgeted():
            for part in compiled(text).generate(values):
                length += len(part)
                if length > LONGEST_RENDERING:
                    raise SecurityError(f"the result is longer than {LONGEST_RENDERING:,} characters")
                parts.append(part)
    except (TypeError, ValueError, ArithmeticError, LookupError, AssertionError, RecursionError) as error:
        raise TemplateRuntimeError(f"{type(error).__name__}: {error}") from error
    return "".join(parts).strip()
