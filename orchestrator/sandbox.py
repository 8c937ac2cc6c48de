"""A small, bounded part of Jinja2: no template can run for long or fill the memory, whatever it says.

What cannot be bounded is not in the language: macros, recursive loops, captured blocks, other files. The rest is paid
for from a budget that each rendering has: the characters and elements that an operation reads and makes, and all steps
of a loop before its first. So the same template and record end the same way on every machine, and within a second,
without a clock, a thread or a signal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LONGEST_TEMPLATE = 262_144  # characters
MOST_NODES = 10_000  # parts of a template; text between tags is one
LONGEST_VALUE = 1_000_000  # characters of a text that is made
LONGEST_RANGE = 1_000
BUDGET = 20_000_000  # a character read or made costs one
_ELEMENT = 100  # of a list or an object
_NODE = 64  # of a loop's body, for each step
_MOST_BITS = 4_096  # of an integer
_MOST_PLACES = 20

_LANGUAGE = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.With, nodes.Name),
    *(nodes.Literal, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.BinExpr),
    *(nodes.UnaryExpr, nodes.Concat, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call),
)
_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
# Filters whose results are no larger than what they are given; joining, replacing and rounding have forms of their own.
_FILTERS = frozenset(
    {
        *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items"),
        *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select"),
        *("selectattr", "sort", "string", "title", "trim", "truncate", "unique", "upper", "wordcount"),
    }
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        {
            *("capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower"),
            *("isspace", "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind"),
            *("rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"),
        }
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset(),
    float: frozenset(),
}


class _Purse:
    """What is left of a rendering's budget."""

    def __init__(self) -> None:
        self.left = BUDGET

    def pay(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise SecurityError("it does too much: shorten its loops, or the lists and texts that it works on")


_PURSE: ContextVar[_Purse | None] = ContextVar("purse", default=None)


@contextmanager
def budgeted() -> Iterator[None]:
    """A budget for one rendering."""
    token = _PURSE.set(_Purse())
    try:
        yield
    finally:
        _PURSE.reset(token)


def paid(value: Any) -> Any:
    """The value, once its size is off the budget. A list that holds another twice counts it twice, as printing does.

    Raises:
        SecurityError: the budget is used up, or a number has over 1,200 digits.
    """
    purse = _PURSE.get() or _Purse()
    if isinstance(value, str):
        purse.pay(len(value))
        return value
    waiting: list[Collection[Any]] = [(value,)]
    while waiting:
        # Before the elements are looked at: many short lists can stand for very many elements.
        elements = waiting.pop()
        purse.pay(len(elements) * _ELEMENT)
        characters = 0
        for one in elements:
            if isinstance(one, str):
                characters += len(one)
            elif isinstance(one, list | tuple):
                waiting.append(one)
            elif isinstance(one, dict):
                waiting += [one.keys(), one.values()]
            elif isinstance(one, int) and one.bit_length() > _MOST_BITS:
                raise SecurityError("a number has more than 1,200 digits")
        purse.pay(characters)
    return value


def _made(value: Any) -> Any:
    """A result, paid for; a generator as the list of what it gives."""
    if isinstance(value, Iterator):
        value = list(value)
    return paid(value)


def _fits(characters: int) -> None:
    if characters > LONGEST_VALUE:
        raise SecurityError(f"it makes a text of over {LONGEST_VALUE:,} characters")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or test that pays for what it is given and for what it makes."""
    # Jinja gives some of them its context first.
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def bounded(*given: Any, **named: Any) -> Any:
        for one in (*given[first:], *named.values()):
            paid(one)
        return _made(function(*given, **named))

    return bounded


def _steps(values: Iterable[Any], parts: int) -> Iterable[Any]:
    steps = values if isinstance(values, Sized) else list(values)
    (_PURSE.get() or _Purse()).pay(len(steps) * parts * _NODE)
    return steps


def _join(values: Iterable[Any], separator: str = "") -> str:
    pieces = [str(value) for value in values]
    _fits(sum(map(len, pieces)) + len(separator) * len(pieces))
    return separator.join(pieces)


def _replace(text: str, old: str, new: str) -> str:
    _fits(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _round(number: float, places: int = 0) -> float:
    if abs(places) > _MOST_PLACES:
        raise SecurityError(f"it rounds to more than {_MOST_PLACES} places")
    return round(number, places)


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _range(*ends: int) -> range:
    numbers = range(*ends)
    if len(numbers) > LONGEST_RANGE:
        raise SecurityError(f"a range is longer than {LONGEST_RANGE}")
    return numbers


_OWN: Mapping[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "round": _round, "tojson": _tojson}


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        # 'a' * 10**9 and '%1000000000d' % 1 are the classic ways to fill the memory from a template.
        if operator == "**":
            raise SecurityError("the operator ** is not for templates: write the number itself")
        if not (numbers or operator == "+"):
            raise SecurityError(f"the operator {operator} is only for numbers")
        paid([left, right])
        if isinstance(left, str) and isinstance(right, str):
            _fits(len(left) + len(right))
        return paid(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        methods = _METHODS.get(type(obj))
        return super().is_safe_attribute(obj, attr, value) and (methods is None or attr in methods)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        # Jinja's own sandbox lets `format` through, wrapped.
        return None

    def call(self, context: Any, function: Any, /, *given: Any, **named: Any) -> Any:
        for one in (getattr(function, "__self__", None), *given, *named.values()):
            paid(one)
        return _made(super().call(context, function, *given, **named))


def environment(finalize: Callable[[Any], Any]) -> ImmutableSandboxedEnvironment:
    """The bounded environment; `finalize` sees every value that is printed."""
    made = _Sandbox(undefined=StrictUndefined, finalize=finalize, autoescape=False)
    made.globals = {"range": _range}
    kept = {name: function for name, function in made.filters.items() if name in _FILTERS}
    made.filters = {name: _bounded(function) for name, function in [*kept.items(), *_OWN.items()]}
    made.filters |= {"_concatenated": _bounded(_join), "_paid": paid, "_steps": _steps}
    made.tests = {name: _bounded(cast(Callable[..., Any], test)) for name, test in made.tests.items()}
    return made


def parsed(made: ImmutableSandboxedEnvironment, text: str) -> nodes.Template:
    """A template's tree, with what bounds it built in.

    Raises:
        TemplateSyntaxError: it is no template, too large, or uses what is not in the language.
    """
    if len(text) > LONGEST_TEMPLATE:
        raise TemplateSyntaxError(f"the template is longer than {LONGEST_TEMPLATE:,} characters", 1)
    try:
        tree = made.parse(text)
        parts = list(tree.find_all(nodes.Node))
        for node in parts:
            _refuse_foreign(node)
        if len(parts) > MOST_NODES:
            raise TemplateSyntaxError(f"the template has more than {MOST_NODES:,} parts", 1)
        metered: nodes.Template = _Meter().visit(tree)
        return metered
    except (RecursionError, MemoryError) as error:
        raise TemplateSyntaxError("the template is nested too deep", 1) from error


def compiled(made: ImmutableSandboxedEnvironment, text: str) -> Template:
    """A template ready to be rendered within `budgeted`. Raises TemplateSyntaxError."""
    tree = parsed(made, text)
    try:
        # Jinja evaluates what is constant now; that is paid for as well.
        with budgeted():
            return made.from_string(tree)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise TemplateSyntaxError("the template is nested too deep", 1) from error


def _refuse_foreign(node: nodes.Node) -> None:
    if isinstance(node, _FILES):
        raise TemplateSyntaxError("a prompt cannot take in another file", node.lineno)
    if not isinstance(node, _LANGUAGE) or (isinstance(node, nodes.For) and node.recursive):
        name = "a recursive loop" if isinstance(node, nodes.For) else type(node).__name__
        raise TemplateSyntaxError(
            f"{name} is not for prompts: they have values, if, for, set and filters", node.lineno or 1
        )


class _Meter(NodeTransformer):
    """Puts what pays around loops, comparisons, slices and concatenations, which no environment gets to see."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 -- jinja2 looks it up by this name
        parts = 1 + sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_steps", nodes.Const(parts))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802 -- as above
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "_paid")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "_paid")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802 -- as above
        self.generic_visit(node)
        return _filtered(node, "_paid") if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 -- as above
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_concatenated")


def _filtered(node: nodes.Node, name: str, *given: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(given), [], None, None, lineno=node.lineno)
