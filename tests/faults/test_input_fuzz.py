"""Whatever the bytes of a settings file, an environment or a reply: read, or refused in words.

The readers of records are fuzzed in test_records_fuzz.py, by as many examples.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.assets import Folders
from orchestrator.cast import read_debate
from orchestrator.config import PREFIX, EndpointSettings, Settings, read_config
from orchestrator.debate.replies import ReplyForm, reply_form
from orchestrator.domain import Role
from orchestrator.errors import ConfigError, ShapeError
from orchestrator.strict_json import JsonError, parse_object
from tests.faults.fuzzing import leaves_line
from tests.faults.report import many

Read = TypeVar("Read")
Refusal = TypeVar("Refusal", bound=Exception)

FUZZ = settings(
    max_examples=many(500, 20_000),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
DEBATE = read_debate("posting", Folders(Path(__file__).parent))
FORMS = [reply_form(DEBATE, role, 1) for role in Role]

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=5
)
_NAMES = st.sampled_from([*Settings.model_fields, *EndpointSettings.model_fields, "endpoints.gpu", "no_such_key"])
_WORDS = st.sampled_from(
    ['"auto"', "true", "-1", "1e999", "nan", "'x'", "[]", "{}", "0x10", "2026-11-21", '"""', "[endpoints.a]"]
)
_LINES = st.lists(st.tuples(_NAMES, _WORDS | st.text(max_size=10)).map(" = ".join), max_size=8).map("\n".join)
_REPLY = st.fixed_dictionaries(
    {},
    optional={
        "analysis": st.text() | _VALUES,
        "evidence": st.lists(st.text(max_size=9), max_size=7) | _VALUES,
        "nothing_to_contest": st.booleans() | _VALUES,
        "suggested_score": st.integers(-2, 12) | _VALUES,
        "verdict_score": st.integers(-2, 12) | _VALUES,
        "more": _VALUES,
    },
).map(json.dumps)
_SHARDS = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        '"',
        "\\",
        "\\ud800",
        "\\u0000",
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5_000,
        "```json\n",
        ",",
        ":",
    ]
)
_BYTES = st.binary().map(lambda raw: raw.decode("utf-8", "replace"))
_BROKEN = st.lists(_SHARDS | st.text(max_size=6), max_size=30).map("".join)

pytestmark = pytest.mark.slow


def refused_or(error: type[Refusal], read: Callable[[], Read]) -> Refusal | Read:
    """What was read, or the one error it may be refused with."""
    try:
        return read()
    except error as problem:
        return problem


@leaves_line("settings")
@FUZZ
@given((st.text().map(str.encode) | st.binary() | _LINES.map(str.encode)), st.dictionaries(_NAMES, _VALUES, max_size=3))
def test_any_settings_are_read_or_refused(content: bytes, flags: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "orchestrate.toml").write_bytes(content)
        found = refused_or(ConfigError, lambda: read_config(home, flags))

    assert str(found).strip() if isinstance(found, ConfigError) else found.database.is_absolute()


@leaves_line("environment")
@FUZZ
@given(_NAMES, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_any_environment_is_read_or_refused(name: str, value: str) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(PREFIX + name.upper(), value)
        found = refused_or(ConfigError, lambda: read_config(Path(folder), {}))

    assert "the environment" in str(found) if isinstance(found, ConfigError) else found.database.is_absolute()


@leaves_line("reply of a model")
@FUZZ
@example(form=FORMS[0], text='{"analysis": "' + "[" * 100_000)
@given(st.sampled_from(FORMS), st.text() | _REPLY | _BROKEN | _BYTES)
def test_any_reply_is_read_or_refused(form: ReplyForm, text: str) -> None:
    found = refused_or(ShapeError, lambda: form.read(text).fields)

    if isinstance(found, ShapeError):
        assert str(found).strip()
        assert found.reply == text
    else:
        assert set(found) == set(form.schema["properties"])
        assert found == json.loads(text)


@leaves_line("text as JSON")
@FUZZ
@given(st.text() | _BROKEN | _VALUES.map(json.dumps))
def test_any_text_is_an_object_or_refused(text: str) -> None:
    found = refused_or(JsonError, lambda: parse_object(text))

    if isinstance(found, JsonError):
        assert found.what
        assert found.mend
    else:
        # What was read can be stored, and says the same when it is read again.
        assert json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode()) == found
