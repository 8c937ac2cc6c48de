"""Actors that share a model agree on what makes a server load it again, or the cast is refused."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.assets import Folders, shipped
from orchestrator.cast import read_debate
from orchestrator.errors import CastError
from orchestrator.ports import Sampling
from orchestrator.sharing import disagreement


@dataclass(frozen=True)
class Actor:
    """As much of one as a card says here."""

    card: str
    model: str
    sampling: Sampling


def actor(card: str, model: str, context: int = 8192, temperature: float = 0.0) -> Actor:
    sampling = Sampling(temperature=temperature, seed=1, context=context, reply_limit=700, timeout_s=180)
    return Actor(card, model, sampling)


def test_two_contexts_of_one_model_are_named() -> None:
    said = disagreement([actor("advocate", "a"), actor("critic", "b"), actor("judge", "a", context=4096)])

    assert said is not None
    assert "actors/advocate.toml and actors/judge.toml share the model 'a'" in said
    assert "(8192 and 4096)" in said


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
