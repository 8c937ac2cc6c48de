"""A template prints what it was given, whole and as it is, or nothing at all."""

from typing import Any

import pytest
from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from orchestrator.templates import LONGEST_RENDERING, EmptyValueError, render, variables

# Classic ways out of a template engine's sandbox.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''.__class__.__base__ }}",
    "{{ [].__class__ }}",
    "{{ {}['__class__'] }}",
    "{{ ().__class__.__bases__[0].__subclasses__()[40]('/etc/passwd').read() }}",
    "{{ cv|attr('__class__') }}",
    "{{ cv|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ cv|map(attribute='__class__')|first }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ config.items() }}",
    "{{ request.application.__globals__ }}",
    "{{ '{0.__class__}'.format(cv) }}",
    "{{ '{x.__class__}'.format_map({'x': cv}) }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% set x = cv.upper.__self__.__class__ %}{{ x }}",
    "{{ tags.append('y') }}",
]

# Small templates whose results would fill the memory, though little of them would be printed.
FLOODS = [
    "{{ 'a' * 10**9 }}",
    "{{ ('a' * 1000000000)|length }}",
    "{{ ([0] * 1000000000)|length }}",
    "{{ 10**1000000000 }}",
    "{{ ('%1000000000d' % 1)|length }}",
    "{{ ('%1000000000d'|format(1))|length }}",
    "{{ ('{:1000000000}'.format(1))|length }}",
    "{{ 'a'.ljust(1000000000)|length }}",
    "{{ 'a'.zfill(1000000000)|length }}",
    "{{ ('a'|center(1000000000))|length }}",
    "{{ ('a\nb'|indent(1000000000))|length }}",
]


def test_values_are_filled_in() -> None:
    text = "Role: {{ role }}{% if place %} in {{ place }}{% endif %}, {{ days * 8 }} hours\n"

    assert render(text, {"role": "cook", "place": None, "days": 5}) == "Role: cook, 40 hours"


def test_unknown_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'cv' is undefined"):
        render("{{ cv }}", {"resume": "here"})


@pytest.mark.parametrize("text", ["{{ cv.name }}", "{{ cv['name'] }}", "{% if name %}{% endif %}", "{{ name|upper }}"])
def test_unknown_part_is_an_error(text: str) -> None:
    with pytest.raises(UndefinedError):
        render(text, {"cv": {"text": "here"}})


@pytest.mark.parametrize("value", [None, ""])
def test_empty_value_is_an_error(value: Any) -> None:
    with pytest.raises(EmptyValueError, match="prints an empty value; put it into"):
        render("What the candidate sent: {{ cv }}", {"cv": value})


def test_missing_else_is_an_empty_value() -> None:
    with pytest.raises(EmptyValueError):
        render("{{ cv if wanted }}", {"cv": "here", "wanted": False})


@pytest.mark.parametrize("value", [0, 0.0, False])
def test_zero_is_not_empty(value: Any) -> None:
    assert render("{{ years }} years", {"years": value}) == f"{value} years"


@pytest.mark.parametrize(
    "value",
    [
        "{{ 7 * 7 }}",
        "{% for x in range(9) %}x{% endfor %}",
        "{{ ''.__class__ }} {# gone #} {% raw %}",
        "<b>&amp;</b> $x %s {0} \\n",
        "{{ secret }}",
    ],
)
def test_record_is_never_a_template(value: str) -> None:
    rendered = render("{{ cv }} / {{ again.cv }}", {"cv": value, "again": {"cv": value}, "secret": "s3cr3t"})

    assert rendered == f"{value} / {value}"


@pytest.mark.parametrize("text", ESCAPES)
def test_way_out_of_sandbox_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        render(text, {"cv": "here", "tags": ["x"]})


@pytest.mark.parametrize("text", FLOODS)
def test_flood_of_memory_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match=r"only for numbers|not for templates|unsafe|No filter named"):
        render(text, {})


def test_huge_range_is_refused() -> None:
    with pytest.raises(SecurityError, match="a range is longer than 1000"):
        render("{% for x in range(1001) %}x{% endfor %}", {})


def test_short_range_is_counted() -> None:
    assert render("{% for x in range(1000) %}x{% endfor %}", {}) == "x" * 1000


def test_long_result_is_refused() -> None:
    long = "x" * (LONGEST_RENDERING // 2)

    with pytest.raises(SecurityError, match="longer than 1,000,000 characters"):
        render("{{ long }}{{ long }}!", {"long": long})


def test_result_at_the_limit_is_rendered() -> None:
    long = "x" * LONGEST_RENDERING

    assert render("{{ long }}", {"long": long}) == long


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ cv + 1 }}", "TypeError: can only concatenate str"),
        ("{{ range(1, 2, 0) }}", "ValueError: range"),
        ("{{ cv|truncate(-5) }}", "AssertionError: expected length"),
    ],
)
def test_failed_operation_is_a_template_error(text: str, what: str) -> None:
    with pytest.raises(TemplateError, match=what):
        render(text, {"cv": "here"})


def test_variables_stand_with_first_lines() -> None:
    text = "{% set own = 1 %}\n{% if place %}\n{{ role }}{{ own }}{% endif %}\n{{ place }}{{ range(3) }}"

    assert variables(text) == {"place": 2, "role": 3}


def test_syntax_error_has_its_line() -> None:
    with pytest.raises(TemplateSyntaxError) as refused:
        variables("one\ntwo\n{% if %}")

    assert refused.value.lineno == 3


@pytest.mark.parametrize(
    "statement",
    ["{% include 'a' %}", "{% include cv %}", "{% extends 'a' %}", "{% import 'a' as a %}", "{% from 'a' import b %}"],
)
def test_taking_in_another_file_is_refused(statement: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="cannot take in another file") as refused:
        variables(f"one\n{statement}")

    assert refused.value.lineno == 2


def test_filter_of_chance_is_unknown() -> None:
    with pytest.raises(TemplateError, match="No filter named 'random'"):
        render("{{ 'abc'|random }}", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ 2 ** 3 }}", r"the operator \*\* is not for templates: write the number itself"),
        ("{{ 'a' * 3 }}", r"the operator \* is only for numbers"),
    ],
)
def test_refused_operator_says_what_it_is_for(text: str, said: str) -> None:
    with pytest.raises(SecurityError, match=f"{said}$"):
        render(text, {})
