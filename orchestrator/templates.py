"""Jinja2 with the doors shut: sandboxed, strict, and an empty value is an error like an unknown one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateRuntimeError,
    TemplateSyntaxError,
    Undefined,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_RENDERING = 1_000_000
LONGEST_RANGE = 1_000

# What pads a text to any width fills the memory before the length of a result can be seen; what is drawn by chance
# makes another prompt each time.
_REFUSED_METHODS = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})
_REFUSED_FILTERS = ("center", "format", "indent", "random")
_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class EmptyValueError(TemplateError):
    """A template printed a value that is empty."""


def _refuse_empty(value: Any) -> Any:
    # An `if` without `else` gives Jinja's lenient Undefined, whatever the environment's own is.
    if value is None or value == "" or isinstance(value, Undefined):
        raise EmptyValueError("prints an empty value; put it into {% if … %}, or make the field a required one")
    return value


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        # 'a' * 10**9 and '%1000000000d' % 1 are the classic ways to fill the memory from a template.
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(f"the operator {operator} is only for numbers, and ** for nothing")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _REFUSED_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        # Jinja's own sandbox lets `format` through, wrapped.
        return None


def _short_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > LONGEST_RANGE:
        raise SecurityError(f"a range is longer than {LONGEST_RANGE}")
    return numbers


def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, finalize=_refuse_empty, autoescape=False)
    environment.globals = {"range": _short_range}
    for name in _REFUSED_FILTERS:
        del environment.filters[name]
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=256)
def compiled(text: str) -> Template:
    """The template of a text. Raises jinja2.TemplateSyntaxError."""
    return _ENVIRONMENT.from_string(text)


def variables(text: str) -> dict[str, int]:
    """Names that a template takes from outside, each with the line it first stands in.

    Raises:
        jinja2.TemplateSyntaxError: it is no template, or would take in another file.
    """
    tree = _ENVIRONMENT.parse(text)
    for other in tree.find_all(_FILES):
        raise TemplateSyntaxError("a prompt cannot take in another file", other.lineno)
    outside = meta.find_undeclared_variables(tree) - {"range"}
    lines: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in outside:
            lines[name.name] = min(name.lineno, lines.get(name.name, name.lineno))
    return lines


def render(text: str, values: Mapping[str, Any]) -> str:
    """A template filled in.

    Raises:
        jinja2.TemplateError: an unknown or empty variable, a result of over 1,000,000 characters, or an operation
            that the value does not take.
    """
    parts = []
    length = 0
    try:
        for part in compiled(text).generate(values):
            length += len(part)
            if length > LONGEST_RENDERING:
                raise SecurityError(f"the result is longer than {LONGEST_RENDERING:,} characters")
            parts.append(part)
    except (TypeError, ValueError, ArithmeticError, LookupError, AssertionError, RecursionError) as error:
        raise TemplateRuntimeError(f"{type(error).__name__}: {error}") from error
    return "".join(parts).strip()
