"""One record is rendered for every card, and held against the contexts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.app.findings import Finding, Health
from orchestrator.app.rendering import look_at_prompts, rendered, specimen
from orchestrator.app.submitting import SubmitRequest, submit
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.domain import Role


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return open_workplace(tmp_path, {})


def card(place: Workplace, role: str, **options: object) -> None:
    folder = place.config.home / "actors"
    folder.mkdir(exist_ok=True)
    lines = {"role": role, "model": f"m-{role}", "prompt": f"{role}.md", **options}
    (folder / f"{role}.toml").write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items()))


def template(place: Workplace, text: str) -> None:
    folder = place.config.home / "prompts/posting"
    folder.mkdir(parents=True)
    (folder / "record.md").write_text(text)


def look(place: Workplace) -> list[Finding]:
    return look_at_prompts(place, place.debate("posting"))[1]


def test_shipped_sample_is_rendered_without_records(place: Workplace) -> None:
    prompts, (finding,) = look_at_prompts(place, place.debate("posting"))

    assert finding.health is Health.GOOD
    assert "record 'posting-001' (sample.jsonl)" in finding.text
    assert [prompt.role for prompt in prompts] == [Role.ADVOCATE, Role.CRITIC, Role.JUDGE]


def test_longest_pending_record_is_taken(place: Workplace, tmp_path: Path) -> None:
    records = [{"id": f"r{length}", "title": "T", "company": "C", "text": "x" * length} for length in (5, 900, 30)]
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    submit(place, SubmitRequest(file=file, debate="posting"))

    found = specimen(place, place.debate("posting"))

    assert found is not None
    assert (found.key, found.source) == ("r900", "pending")


def test_prompts_grow_by_earlier_replies(place: Workplace) -> None:
    debate = place.debate("posting")
    found = specimen(place, debate)

    assert found is not None
    advocate, critic, judge = rendered(debate, found.payload)
    assert advocate.most_tokens == advocate.tokens < critic.tokens < judge.tokens
    limit = debate.actor(Role.ADVOCATE).sampling.reply_limit
    assert critic.most_tokens - critic.tokens == pytest.approx(limit, abs=2)
    assert judge.most_room == judge.most_tokens + judge.reply_limit


def test_template_that_does_not_fit_is_bad(place: Workplace) -> None:
    template(place, "{{ title }} {{ salary.low }}")

    (finding,) = look(place)

    assert finding.health is Health.BAD
    assert "record.md of posting does not take this record" in finding.text


def test_small_context_is_bad_before_the_night(place: Workplace) -> None:
    card(place, "critic", context=256)

    (first, second) = look(place)

    assert (first.health, second.health) == (Health.GOOD, Health.BAD)
    assert "critic (actors/critic.toml)" in second.text
    assert "does not fit its context of 256" in second.text


def test_long_replies_that_may_not_fit_are_noted(place: Workplace) -> None:
    card(place, "judge", context=2000)

    (_, second) = look(place)

    assert second.health is Health.NOTE
    assert "judge (actors/judge.toml)" in second.text
    assert "raise context, or lower reply_limit" in second.text
