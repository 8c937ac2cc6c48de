"""No template runs for long or fills the memory: what would is refused, in words, after little work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from jinja2 import TemplateError, TemplateSyntaxError

from orchestrator import sandbox
from orchestrator.templates import render, variables

X = "x" * 100_000
WORDS = {"text": X, "words": ["word"] * 5_000, "n": 7, "deep": {"a": {"b": [1, 2, {"c": "d"}]}}}

# Each would run for minutes, or fill the memory, in a Jinja2 sandbox without bounds.
ENDLESS = {
    "loops in loops": "".join(f"{{% for a{n} in range(1000) %}}" for n in range(4)) + "{% endfor %}" * 4,
    "loops over text": "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
    "loop with a condition": "{% for a in text if a in text %}{% endfor %}",
    "doubled text": "{% set a = text %}" + "{% set a = a ~ a %}" * 40 + "{{ a|length }}",
    "added text": "{% set a = text %}" + "{% set a = a + a %}" * 40 + "{{ a|length }}",
    "doubled list": "{% set a = [text] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "compared lists": "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    + "{{ a == b }}",
    "added lists": "{% set a = words %}" + "{% set a = a + a %}" * 40 + "{{ a|length }}",
    "squared number": "{% set a = 9999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "joined range": "{{ range(1000)|join(text)|length }}",
    "replaced": "{{ text|replace('x', text)|length }}",
    "replaced again": "{{ 'aaaaaaaaaa'" + "|replace('a', 'aaaaaaaaaa')" * 12 + "|length }}",
    "concatenated": "{{ (" + "~".join(["text"] * 500) + ")|length }}",
    "searched": "{% for a in words %}" + "{% if text in text %}{% endif %}" * 50 + "{% endfor %}",
    "searched by a test": "{% for a in words %}" + "{% if text is in(text) %}{% endif %}" * 50 + "{% endfor %}",
    "upper case": "{% for a in range(1000) %}{% if text|upper %}{% endif %}{% endfor %}",
    "method": "{% for a in range(1000) %}{% if text.upper() %}{% endif %}{% endfor %}",
    "slices": "{% for a in range(1000) %}{% if text[::1] %}{% endif %}{% endfor %}",
    "split": "{% for a in range(1000) %}{% if text.split('x') %}{% endif %}{% endfor %}",
    "sorted": "{% for a in range(1000) %}{% if words|sort %}{% endif %}{% endfor %}",
    "mapped": "{{ text|list|map('list')|map('list')|list|length }}",
    "rounded": "{{ 1|round(-1000000000) }}",
}
# What a template may not say at all; it is refused when the debate is read.
FOREIGN = {
    "macro that calls itself": "{% macro f(s) %}{{ f(s ~ s) }}{% endmacro %}{{ f('x') }}",
    "recursive loop": "{% for a in deep recursive %}{{ loop(deep) }}{% endfor %}",
    "captured block": "{% set a %}{{ text }}{% endset %}{{ a }}",
    "filter block": "{% filter upper %}{{ text }}{% endfilter %}",
    "call block": "{% call f() %}x{% endcall %}",
    "block": "{% block a %}{{ self.a() }}{% endblock %}",
    "attribute set": "{% set deep.a = 1 %}",
    "autoescape": "{% autoescape true %}{{ text }}{% endautoescape %}",
    "many parts": "{{ n }}" * sandbox.MOST_NODES,
    "long template": "x" * (sandbox.LONGEST_TEMPLATE + 1),
    "brackets without end": "{{ " + "(" * 50_000,
    "brackets nested deep": "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "lists nested deep": "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
    "conditions nested deep": "{% if n %}" * 3_000 + "{% endif %}" * 3_000,
}
GONE = [
    "attr('a')",
    "batch(9)",
    "center(9)",
    "format(1)",
    "indent",
    "pprint",
    "random",
    "slice(9)",
    "sum",
    "urlize",
    "wordwrap(1)",
]
_CHILD = """
import resource
from jinja2 import TemplateError
from orchestrator.templates import render
from tests.security.test_templates import ENDLESS, WORDS

resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
resource.setrlimit(resource.RLIMIT_AS, (%d, %d))
for name, text in ENDLESS.items():
    try:
        render(text, WORDS)
    except TemplateError:
        print(name)
"""
_MEMORY = 512 << 20  # bytes of address space, the interpreter and its libraries included

# What a prompt may well say, and how it comes out.
ORDINARY = {
    "{% for word in ['a', 'b'] %}{{ loop.index }}{{ word }}{% if not loop.last %}, {% endif %}{% endfor %}": "1a, 2b",
    "{% for name, value in deep.a.items() %}{{ name }}={{ value|length }}{% endfor %}": "b=3",
    "{{ deep.a.b[2].c ~ '-' ~ n }}/{{ deep['a'].b[0] + 1 }}": "d-7/2",
    "{{ words[:3]|map('upper')|join(', ') }}": "WORD, WORD, WORD",
    "{{ text[:4] }} {{ text|truncate(5) }} {{ text|length }}": "xxxx xx... 100000",
    "{% set half = n / 2 %}{{ half|round(1) }} {{ n // 2 }} {{ -n % 4 }}": "3.5 3 1",
    "{{ 'a-b'|replace('-', ' + ') }} {{ 'a b'.split()|last }} {{ '  c '|trim|upper }}": "a + b b C",
    "{{ {'b': [1, 'é'], 'a': none}|tojson }}": '{"a": null, "b": [1, "é"]}',
    "{{ 'yes' if 'x' in text and n is odd and deep.z is not defined else 'no' }}": "yes",
    "{% with m = n %}{{ m|default(1) }}{% endwith %}{{ [3, 1, 2]|sort|join }}{{ nothing|default('-') }}": "7123-",
    "{% for one in [1, 2, 3] if one > 1 %}{{ one }}{% else %}none{% endfor %}": "23",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_template_is_refused(name: str) -> None:
    with pytest.raises(TemplateError, match=r"does too much|text of over|more than 1,200 digits|rounds to more"):
        render(ENDLESS[name], WORDS)


def test_endless_templates_take_little_time_and_memory() -> None:
    limits = (len(ENDLESS), len(ENDLESS), _MEMORY, _MEMORY)

    done = subprocess.run([sys.executable, "-c", _CHILD % limits], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == list(ENDLESS)


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_in_the_language_is_refused(name: str) -> None:
    with pytest.raises(TemplateSyntaxError) as refused:
        variables(FOREIGN[name])

    assert refused.value.lineno == 1
    with pytest.raises(TemplateSyntaxError):
        render(FOREIGN[name], WORDS)


@pytest.mark.parametrize("text", GONE)
def test_filter_that_cannot_be_bounded_is_unknown(text: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="No filter named"):
        render(f"{{{{ n|{text} }}}}", WORDS)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_template_is_rendered(text: str) -> None:
    assert render(text, WORDS) == ORDINARY[text]


def test_large_record_is_rendered() -> None:
    record = {"text": "word " * 190_000, "jobs": [{"title": f"t{number}", "years": number} for number in range(2_000)]}
    jobs = "{% for job in jobs %}{{ job.title }}: {{ job.years }}{% endfor %}"

    assert render("{% if 'word' in text %}{{ text|trim }}{% endif %}" + jobs, record).endswith("t1999: 1999")


@pytest.mark.parametrize("value", [object(), b"x", {1, 2}, print, [{"a": [object]}], range(3)])
def test_value_that_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(TemplateError, match="no plain value"):
        render("{{ n }}", {"n": 1, "value": value})


@pytest.mark.parametrize(
    "text", ["{{ text.upper }}", "{{ range }}", "{{ deep.items }}", "{% for a in [1] %}{{ loop }}{% endfor %}"]
)
def test_value_with_an_address_is_not_printed(text: str) -> None:
    with pytest.raises(TemplateError, match="prints what is no value of a record"):
        render(text, WORDS)


@pytest.mark.parametrize(
    "name", ["text.format('x')", "text.zfill(9)", "words.append(1)", "deep.clear()", "n.bit_length()"]
)
def test_method_that_is_not_listed_is_refused(name: str) -> None:
    with pytest.raises(TemplateError, match=r"unsafe|not safely callable"):
        render(f"{{{{ {name} }}}}", WORDS)


def test_budget_is_each_renderings_own() -> None:
    half = "{% for a in range(1000) %}" + "{% if n %}{% endif %}" * 30 + "{% endfor %}."

    assert [render(half, WORDS) for _ in range(5)] == ["."] * 5
    with pytest.raises(TemplateError, match="does too much"):
        render(half * 10, WORDS)
