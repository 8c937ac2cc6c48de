"""What an exam makes of contexts and slots: what a server says, what it was seen to do, what the cards count on."""

from __future__ import annotations

import pytest

from orchestrator.app.exam import sizes
from orchestrator.app.exam.subject import Subject
from orchestrator.app.findings import Health
from orchestrator.app.rendering import Rendered
from orchestrator.backends.heard import Heard
from orchestrator.config import EndpointSettings
from orchestrator.domain import Role
from orchestrator.measures import ModelFacts
from orchestrator.ports import Message, Sampling

SETTINGS = EndpointSettings.model_validate({"backend": "ollama", "url": "http://127.0.0.1:11434"})
SAMPLING = Sampling(temperature=0, seed=0, context=8192, reply_limit=700, timeout_s=60)
# About 4,000 tokens; 5,000 with long replies before it, and 700 for its own.
PROMPT = Rendered(
    role=Role.JUDGE,
    round=1,
    card="judge",
    model="m",
    messages=(Message(role="user", content="x" * 16_000),),
    tokens=4000,
    most_tokens=5000,
    context=8192,
    reply_limit=700,
)


def a_subject(*prompts: Rendered, wanted: int | None = None) -> Subject:
    return Subject(
        endpoint="gpu", settings=SETTINGS, model="m", sampling=SAMPLING, prompts=prompts, wanted_slots=wanted
    )


@pytest.mark.parametrize(
    ("facts", "counted", "expected"),
    [
        (ModelFacts(context=8192, trained=32768), None, Health.GOOD),
        (ModelFacts(context=6000, trained=32768), None, Health.NOTE),
        (ModelFacts(context=4000), None, Health.NOTE),
        (ModelFacts(context=3999), None, Health.BAD),
        # The server made 6,400 tokens of what was taken for 4,000: five thousand are eight thousand.
        (ModelFacts(context=8192), 6400, Health.NOTE),
        (ModelFacts(context=8192), 8193, Health.BAD),
        (ModelFacts(trained=32768), None, Health.GOOD),
        (ModelFacts(trained=2048), None, Health.BAD),
        (ModelFacts(), None, Health.NOTE),
    ],
)
def test_context_is_held_against_prompts(facts: ModelFacts, counted: int | None, expected: Health) -> None:
    assert sizes.context(a_subject(PROMPT), facts, counted).health is expected


def test_context_of_another_users_load_is_ignored() -> None:
    finding = sizes.context(a_subject(PROMPT), ModelFacts(context=2048, trained=32768), loaded=False)

    assert finding.health is Health.GOOD
    assert "the model was made for 32,768" in finding.text


@pytest.mark.parametrize(
    ("wanted", "told", "seen", "expected"),
    [
        (4, 4, 4, Health.GOOD),
        (4, None, 4, Health.GOOD),
        (2, 4, 4, Health.GOOD),
        (256, 256, 4, Health.GOOD),
        (4, None, 1, Health.NOTE),
        (4, 4, 1, Health.NOTE),
        (8, 4, 4, Health.NOTE),
        (1, 1, 1, Health.GOOD),
        (None, None, 1, Health.NOTE),
        (None, 2, 2, Health.GOOD),
        (4, None, None, Health.NOTE),
    ],
)
def test_slots_are_held_against_settings(
    wanted: int | None, told: int | None, seen: int | None, expected: Health
) -> None:
    assert sizes.slots(a_subject(wanted=wanted), told, seen).health is expected


@pytest.mark.parametrize(
    ("wanted", "told", "seen", "fits"), [(8, 4, 4, 4), (256, 128, 4, 128), (4, 4, 1, 1), (4, None, 2, 2)]
)
def test_slots_that_fit_are_named(wanted: int, told: int | None, seen: int, fits: int) -> None:
    assert sizes.slots(a_subject(wanted=wanted), told, seen).text.endswith(f"or lower slots to {fits}")


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], 4),
        ([0.0, 1.0, 2.0, 3.0], 1),
        ([0.0, 0.01, 1.0, 1.02], 2),
        ([0.0, 0.3, 0.2, 1.1], 3),
    ],
)
def test_waits_tell_which_calls_ran_together(waits: list[float], expected: int) -> None:
    calls = [Heard(status=200, waited_s=wait, worked_s=1.0) for wait in waits]

    assert sizes.side_by_side(calls) == expected


def test_one_untimed_call_tells_nothing() -> None:
    timed = Heard(status=200, waited_s=0.0, worked_s=1.0)

    assert sizes.side_by_side([timed, Heard(status=500)]) is None
    assert sizes.side_by_side([]) is None
