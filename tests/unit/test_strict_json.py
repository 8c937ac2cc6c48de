"""JSON that two parsers could read differently, or that a database cannot keep, is refused with its column."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits import Limits
from orchestrator.strict_json import JsonError, parse_object


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the field 'a' stands twice in one object, again at column 18"),
        ('{"b": {"a": 1, "\\u0061": 3}}', "the field 'a' stands twice in one object, again at column 16"),
        ('{"a": NaN}', "NaN is not JSON at column 7"),
        ('{"NaN": "Infinity", "a": -Infinity}', "-Infinity is not JSON at column 26"),
        ('{"a": 1e999}', "1e999 is too large for a number at column 7"),
        ('{"a": "x\\u0000"}', "a NUL character in the text at column 7"),
        ('{"a": "x\x00"}', "not JSON at column 9 (invalid control character)"),
        ('{"a": "\\ud800"}', "half a surrogate pair (\\ud800) in the text at column 7"),
        ('{"a": "\udfff"}', "half a surrogate pair (\\udfff) in the text at column 7"),
        ('{"\\uDC00": 1}', "half a surrogate pair (\\udc00) in the text at column 2"),
        ('{"a": 1', "not JSON at column 8 (expecting ',' delimiter)"),
        ('{"a": 1} {"a": 2}', "not JSON at column 10 (extra data)"),
        ('{\n"a": 1,\n"b": x}', "not JSON at line 3, column 6 (expecting value)"),
        ("", "not JSON at column 1 (expecting value)"),
        ("[1]", "a JSON list at column 1"),
        ("null", "a JSON null at column 1"),
        ('"text"', "a JSON text at column 1"),
    ],
)
def test_refusal_says_what_and_where(text: str, what: str) -> None:
    with pytest.raises(JsonError) as refused:
        parse_object(text)

    assert refused.value.what == what
    assert refused.value.mend
    assert str(refused.value) == f"{what}: {refused.value.mend}"


@pytest.mark.parametrize("digits", [401, 5_000, 100_000])
def test_number_of_many_digits_is_refused(digits: int) -> None:
    text = f'{{"a": -{"7" * digits}}}'

    with pytest.raises(JsonError, match=rf"a number of {digits} digits \(the limit is 400\) at column 7"):
        parse_object(text)


def test_number_at_the_limit_is_read() -> None:
    assert parse_object(f'{{"a": {"7" * 400}}}') == {"a": int("7" * 400)}


@pytest.mark.parametrize(("opened", "closed"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
def test_nesting_of_100_000_is_refused(opened: str, closed: str) -> None:
    text = f'{{"a": {opened * 100_000}1{closed * 100_000}}}'

    with pytest.raises(JsonError, match="nested deeper than 64 levels at column"):
        parse_object(text)


def test_nesting_without_any_end_is_refused() -> None:
    with pytest.raises(JsonError, match="nested deeper than 64 levels"):
        parse_object('{"a": ' + "[" * 100_000)


def test_nesting_at_the_limit_is_read() -> None:
    depth_64 = f'{{"a": {"[" * 63}{"]" * 63}}}'
    depth_65 = f'{{"a": {"[" * 64}{"]" * 64}}}'

    assert parse_object(depth_64)
    with pytest.raises(JsonError, match="deeper than 64"):
        parse_object(depth_65)


def test_brackets_inside_texts_nest_nothing() -> None:
    fields = {"a": '[{"\\' * 1_000, "b": "]"}

    assert parse_object(json.dumps(fields)) == fields


def test_depth_beyond_python_is_refused() -> None:
    text = '{"a": ' + "[" * 50_000 + "]" * 50_000 + "}"

    with pytest.raises(JsonError, match="nested too deep"):
        parse_object(text, Limits(depth=1_000_000))


@pytest.mark.parametrize("text", ['"\\"' * 300_000, '{"a": "' + '\\"' * 500_000, "{" * 70 + '"\\'])
def test_unclosed_texts_take_linear_time(text: str) -> None:
    with pytest.raises(JsonError):
        parse_object(text)


def test_escaped_backslash_is_no_escape() -> None:
    text = r'{"a": "\\u0000 \\ud800 \ud83d\ude00"}'

    assert parse_object(text) == {"a": "\\u0000 \\ud800 \U0001f600"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
_STORABLE = st.dictionaries(st.text(), _JSON).filter(lambda fields: "\\u0000" not in json.dumps(fields))


@given(_STORABLE)
def test_every_storable_object_is_read(fields: dict[str, object]) -> None:
    assert parse_object(json.dumps(fields)) == fields
    assert parse_object(json.dumps(fields, ensure_ascii=False)) == fields


@given(st.text(alphabet='{}[]":,\\u0d8a1e9-. \x00\ud800NnInfity') | st.text())
def test_every_text_is_read_or_refused(text: str) -> None:
    try:
        fields = parse_object(text)
    except JsonError:
        return

    assert fields == json.loads(text)
