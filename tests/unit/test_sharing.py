"""Actors that share a model agree on what makes a server load it again, or the cast is refused."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.casting import cast_models
from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, read_debate
from orchestrator.config import read_config
from orchestrator.errors import CastError, ConfigError
from orchestrator.ports import Sampling
from orchestrator.sharing import disagreement


@dataclass(frozen=True)
class Actor:
    """As much of one as a card says here."""

    card: str
    model: str
    sampling: Sampling


def actor(card: str, model: str, context: int = 8192, temperature: float = 0.0, **fallback: Any) -> Actor:
    sampling = Sampling(temperature=temperature, seed=1, context=context, reply_limit=700, timeout_s=180, **fallback)
    return Actor(card, model, sampling)


def test_two_contexts_of_one_model_are_named() -> None:
    said = disagreement([actor("advocate", "a"), actor("critic", "b"), actor("judge", "a", context=4096)])

    assert said is not None
    assert "actors/advocate.toml and actors/judge.toml share the model 'a'" in said
    assert "(8192 and 4096)" in said


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            {"model": "a", "fallback_context": 4096},
            {"model": "a"},
            "share the model 'a' but not its fallback_context (4096 and none)",
        ),
        (
            {"model": "a", "fallback_model": "b"},
            {"model": "a", "fallback_model": "c"},
            "share the model 'a' but not its fallback_model (b and c)",
        ),
        (
            {"model": "a", "fallback_model": "b"},
            {"model": "b", "context": 4096},
            "share the model 'b' but not its context (8192 and 4096)",
        ),
        (
            {"model": "b", "fallback_context": 4096},
            {"model": "a", "fallback_model": "b", "fallback_context": 2048},
            "share the model 'b' but not its fallback_context (4096 and 2048)",
        ),
        (
            {"model": "a", "fallback_model": "c"},
            {"model": "b", "fallback_model": "c", "context": 4096},
            "share the model 'c' but not its context (8192 and 4096)",
        ),
    ],
)
def test_two_fallbacks_of_one_model_are_named(one: dict[str, Any], other: dict[str, Any], said: str) -> None:
    found = disagreement([actor("advocate", **one), actor("judge", **other)])

    assert found is not None
    assert f"actors/advocate.toml and actors/judge.toml {said}: " in found


def test_fallbacks_that_agree_are_allowed() -> None:
    both: dict[str, Any] = {"fallback_context": 4096, "fallback_model": "c"}

    assert disagreement([actor("advocate", "a", **both), actor("judge", "a", temperature=0.7, **both)]) is None
    assert disagreement([actor("advocate", "a", **both), actor("judge", "b", **both)]) is None
    assert disagreement([actor("advocate", "a", **both), actor("judge", "c", fallback_context=4096)]) is None
    assert disagreement([actor("advocate", "a", **both), actor("judge", "b", context=1024)]) is None


def test_only_what_loads_again_must_agree() -> None:
    assert disagreement([actor("advocate", "a", temperature=0.7), actor("judge", "a")]) is None
    assert disagreement([actor("advocate", "a"), actor("judge", "b", context=4096)]) is None
    assert disagreement([]) is None


def test_cast_that_disagrees_is_refused(tmp_path: Path) -> None:
    shutil.copytree(shipped() / "actors", tmp_path / "actors")
    critic = tmp_path / "actors" / "critic.toml"
    lines = [line for line in critic.read_text().splitlines() if not line.startswith("context")]
    critic.write_text("\n".join([*lines, "context = 4096"]))

    with pytest.raises(CastError, match=r"prompts/posting/debate.toml: actors/\w+.toml and actors/\w+.toml share"):
        read_debate("posting", Folders(tmp_path))


def speaking(debate: str, home: Path, model: str, **sampling: Any) -> Debate:
    """A shipped debate whose actors all have this model, run in this way."""
    found = read_debate(debate, Folders(home))
    actors = (replace(each, model=model, sampling=replace(each.sampling, **sampling)) for each in found.actors)
    return replace(found, actors=tuple(actors))


@pytest.mark.parametrize(("backend", "refused"), [("ollama", True), ("vllm", False)])
def test_fallback_of_another_debate_must_agree(tmp_path: Path, backend: str, refused: bool) -> None:
    (tmp_path / "orchestrate.toml").write_text(f'[endpoints.gpu]\nbackend = "{backend}"\nurl = "http://127.0.0.1:1"\n')
    config = read_config(tmp_path, {})
    debates = [
        speaking("candidate", tmp_path, "a", fallback_model="b"),
        speaking("posting", tmp_path, "b", context=4096),
    ]

    with pytest.raises(ConfigError, match="share the model 'b'") if refused else nullcontext():
        (casting,) = cast_models(config, debates)
        assert casting.models.keys() == {"a", "b"}
