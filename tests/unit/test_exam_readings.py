"""What an exam makes of answers: one case for each thing a server may do."""

from __future__ import annotations

import pytest

from orchestrator.app.exam import asks, readings
from orchestrator.app.exam.subject import Outcome, Subject
from orchestrator.app.findings import Finding, Health
from orchestrator.backends.heard import Heard
from orchestrator.config import EndpointSettings
from orchestrator.errors import DeterministicError, EndpointError, OverflowingError, TransientError
from orchestrator.ports import Sampling

SAMPLING = Sampling(temperature=0, seed=0, context=8192, reply_limit=700, timeout_s=60)
KEPT = '{"tone": "amber", "count": 65, "agree": true}'


def a_subject(backend: str = "vllm") -> Subject:
    settings = EndpointSettings.model_validate({"backend": backend, "url": "http://127.0.0.1:8000/v1"})
    return Subject(endpoint="big", settings=settings, model="m", sampling=SAMPLING, prompts=(), wanted_slots=None)


def said(text: str, **more: object) -> Heard:
    return Heard(**{"status": 200, "text": text, "finish": "stop", **more})  # type: ignore[arg-type]


def health(finding: Finding | None) -> Health | None:
    return finding.health if finding is not None else None


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        (KEPT, None),
        (f"  {KEPT}\n", None),
        ("11", ""),
        (f"```json\n{KEPT}\n```", ""),
        ('{"tone": "amber", "count": 65}', "its fields are tone, count"),
        ("{}", "its fields are none"),
        ('{"tone": "red", "count": 65, "agree": true}', "tone is 'red'"),
        ('{"tone": "amber", "count": 11, "agree": true}', "count is 11"),
        ('{"tone": "amber", "count": true, "agree": true}', "count is True"),
        ('{"tone": "amber", "count": 65.0, "agree": true}', "count is 65.0"),
        ('{"tone": ["amber"], "count": 65, "agree": true}', "tone is ['amber']"),
        ('{"tone": "amber", "count": 65, "agree": "yes"}', "agree is 'yes'"),
    ],
)
def test_flaws_of_replies_are_named(text: str, flaw: str | None) -> None:
    found = readings.flaw_of(text)

    assert (found is None) == (flaw is None)
    assert (flaw or "") in (found or "")


@pytest.mark.parametrize(
    ("against", "plain", "expected"),
    [
        (KEPT, None, Health.GOOD),
        ('{"tone": "amber", "count": 11, "agree": true}', None, Health.NOTE),
        ("11", KEPT, Health.NOTE),
        ("11", "Sure: amber.", Health.BAD),
        ("11", None, Health.BAD),
        ("", None, Health.BAD),
    ],
)
def test_unenforced_schema_is_worse_than_values(against: str, plain: str | None, expected: Health) -> None:
    finding = readings.form(a_subject(), said(against), said(plain) if plain is not None else None)

    assert finding.health is expected
    assert (expected is Health.GOOD) != ("shape" in finding.text or "response_format" in finding.text)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (asks.FIELDS, Health.GOOD),
        (sorted(asks.FIELDS), Health.GOOD),
        (("count", "tone", "agree"), Health.NOTE),
    ],
)
def test_only_third_orders_of_keys_matter(keys: tuple[str, ...], expected: Health) -> None:
    fields = {"tone": '"amber"', "count": "65", "agree": "true"}
    text = "{" + ", ".join(f'"{key}": {fields[key]}' for key in keys) + "}"

    assert health(readings.order(a_subject(), said(text))) is expected


def test_reply_without_fields_has_no_order() -> None:
    assert readings.order(a_subject(), said("11")) is None


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        (said(KEPT), Health.GOOD, "none"),
        (said(KEPT, thinking="Hm."), Health.NOTE, "reply_limit (700)"),
        (said("", thinking="Hm."), Health.BAD, "content is empty"),
        (said(" \n", thinking=KEPT), Health.BAD, "content is empty"),
        (said("", thinking="Hm.", finish="length"), Health.BAD, "spent all of reply_limit (700"),
        (said(f"<think>Hm.</think>{KEPT}"), Health.BAD, "--reasoning-parser"),
    ],
)
def test_thinking_is_judged_by_what_is_left(reply: Heard, expected: Health, words: str) -> None:
    finding = readings.thinking(a_subject(), reply, able=None)

    assert finding.health is expected
    assert words in finding.text


def test_ability_to_think_is_told_of() -> None:
    assert "it can" in readings.thinking(a_subject("ollama"), said(KEPT), able=True).text


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(heard=Heard(status=400), error=OverflowingError("too long")), Health.GOOD),
        (Outcome(heard=said("11", prompt_tokens=2050)), Health.BAD),
        # A reply cut at its own limit is an overflow as well, but this prompt was read.
        (Outcome(heard=said("11", finish="length"), error=OverflowingError("cut")), Health.BAD),
        (Outcome(heard=Heard(status=400), error=DeterministicError("no")), Health.NOTE),
        (Outcome(heard=None, error=TransientError("no complete reply within 60 s")), Health.NOTE),
    ],
)
def test_long_prompts_must_be_refused(outcome: Outcome, expected: Health) -> None:
    assert readings.overflow(a_subject(), outcome, 9216).health is expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (said(""), said("", prompt_tokens=100, cached_tokens=96), Health.GOOD),
        (said(""), said("", prompt_tokens=100, cached_tokens=16), Health.NOTE),
        (said(""), said("", prompt_tokens=100), Health.NOTE),
        (said("", prompt_s=0.4), said("", prompt_s=0.01), Health.GOOD),
        (said("", prompt_s=0.4), said("", prompt_s=0.39), Health.NOTE),
        (said("", prompt_s=0.004), said("", prompt_s=0.004), Health.GOOD),
    ],
)
def test_cache_is_seen_by_counts_or_times(first: Heard, second: Heard, expected: Health) -> None:
    found = readings.cache(a_subject(), Outcome(heard=first), Outcome(heard=second))

    assert found.health is expected


def test_prompt_of_cards_without_reply_is_bad() -> None:
    refused = Outcome(heard=Heard(status=400), error=OverflowingError("9,000 tokens exceed the context"))

    found = readings.cache(a_subject(), refused, refused)

    assert found.health is Health.BAD
    assert "9,000 tokens exceed the context" in found.text


@pytest.mark.parametrize(("context", "why"), [(None, "does not tell"), (131_072, "131,072 tokens is too large")])
def test_untried_long_prompt_is_said(context: int | None, why: str) -> None:
    found = readings.not_asked(a_subject(), context)

    assert found.health is Health.NOTE
    assert why in found.text


@pytest.mark.parametrize(
    ("heard", "error", "expected"),
    [
        (said(KEPT), None, Health.GOOD),
        (said(""), OverflowingError("cut"), Health.GOOD),
        (Heard(status=404), DeterministicError("no such model"), Health.BAD),
        (None, TransientError("does not answer"), Health.BAD),
    ],
)
def test_any_reply_is_an_answer(heard: Heard | None, error: EndpointError | None, expected: Health) -> None:
    assert readings.answers(a_subject(), Outcome(heard=heard, error=error), 1.0).health is expected
