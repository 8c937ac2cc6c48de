"""What the doctor says of a folder: quick without calling a model, thorough with an exam, and never beside a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.app.doctor import examine
from orchestrator.app.exam.models import ExamRequest
from orchestrator.app.findings import Finding, Health
from orchestrator.errors import BusyError
from orchestrator.scheduler.liveness import alive, dry_lock
from tests.servers.ollama import OllamaStandIn
from tests.servers.promises import Manners, PromisingServer

CARD = 'role = "{role}"\nmodel = "{model}"\nprompt = "{role}.md"\n'


def workplace(home: Path, model: str, **settings: str) -> Path:
    """A folder whose cards want one model of one endpoint."""
    (home / "actors").mkdir()
    for role in ("advocate", "critic", "judge"):
        (home / f"actors/{role}.toml").write_text(CARD.format(role=role, model=model))
    lines = "\n".join(f'{name} = "{value}"' for name, value in settings.items())
    (home / "orchestrate.toml").write_text(f"[endpoints.here]\n{lines}\n" if settings else "")
    return home


async def look(home: Path, exam: ExamRequest | None = None) -> dict[str, Finding]:
    # It has a loop of its own, and the servers of a test live in this one.
    found = await asyncio.to_thread(examine, home, None, "posting", exam)
    return {each.about: each for each in found}


async def test_quick_look_calls_no_model(tmp_path: Path) -> None:
    async with PromisingServer(manners=Manners(context=4096)) as server:
        found = await look(workplace(tmp_path, "model", backend="vllm", url=server.url))

    assert server.bodies == []
    assert found["endpoint here"].health is Health.GOOD
    assert found["prompts of posting"].health is Health.GOOD
    context = found["model model on here, context"]
    assert context.health is Health.NOTE
    assert "the server gives 4,096 tokens, the cards say 8,192" in context.text


async def test_quick_look_loads_nothing(tmp_path: Path) -> None:
    async with OllamaStandIn(models=["m"]) as server:
        found = await look(workplace(tmp_path, "m", backend="ollama", url=server.url))

        assert server.events == []
    assert "the model was made for 32,768" in found["model m on here, context"].text


async def test_exam_adds_findings_of_each_model(tmp_path: Path) -> None:
    told: list[str] = []
    async with PromisingServer(manners=Manners(schema="ignored")) as server:
        home = workplace(tmp_path, "model", backend="vllm", url=server.url)
        found = await look(home, ExamRequest(tell=told.append))

    assert found["model model on here, schema"].health is Health.BAD
    assert told[0] == "model on here: loading"
    assert not (home / "orchestrate.db").exists()


async def test_missing_model_is_not_examined(tmp_path: Path) -> None:
    async with PromisingServer(manners=Manners()) as server:
        found = await look(workplace(tmp_path, "nope", backend="vllm", url=server.url), ExamRequest())

    assert found["endpoint here"].health is Health.BAD
    assert "has no model 'nope'" in found["endpoint here"].text
    assert server.bodies == []


def test_rehearsal_has_nothing_to_examine(tmp_path: Path) -> None:
    found = examine(workplace(tmp_path, "rehearsal"), None, "posting", ExamRequest())

    assert not [each for each in found if each.about.startswith("model")]
    assert not [each for each in found if each.health is Health.BAD]


def test_exam_keeps_off_a_run(tmp_path: Path) -> None:
    home = workplace(tmp_path, "rehearsal")

    with alive(home / "orchestrate.db"), pytest.raises(BusyError, match="a run is speaking on this database"):
        examine(home, None, None, ExamRequest())
    with dry_lock(home / "orchestrate.db"), pytest.raises(BusyError, match="a dry run, or another doctor"):
        examine(home, None, None, ExamRequest())
    assert examine(home, None, None, ExamRequest())


def test_quick_look_is_welcome_beside_a_run(tmp_path: Path) -> None:
    home = workplace(tmp_path, "rehearsal")

    with alive(home / "orchestrate.db"):
        assert examine(home, None)


def test_every_debate_counts_for_an_endpoint(tmp_path: Path) -> None:
    home = workplace(tmp_path, "rehearsal")
    (home / "prompts/other").mkdir(parents=True)
    for file in ("advocate.md", "critic.md", "judge.md", "record.md", "rules.md", "debate.toml"):
        text = (Path(__file__).parents[2] / "prompts/posting" / file).read_text()
        (home / "prompts/other" / file).write_text(text.replace('judge = "judge"', 'judge = "second"'))
    (home / "actors/second.toml").write_text(CARD.format(role="judge", model="unheard-of"))

    found = examine(home, None)

    assert [each.about for each in found if each.health is Health.BAD] == ["debate other"]
