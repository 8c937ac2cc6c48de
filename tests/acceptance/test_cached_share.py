"""A real llama.cpp says how many prompt tokens it had in its cache: the prompt's layout lets it keep what is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.places import SAMPLE, Place
from tests.servers.llamacpp import LlamaCppServer

MODEL = "tiny-llama"
CAST = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
LEAST = 0.8


def debated(place: Place, endpoint: str, workers: int, tasks: int) -> None:
    """So much of the sample, debated by one model in all three roles."""
    place.cards(CAST, reply_limit=300, context=8192)
    place.one_label()
    place.settings(f"max_workers = {workers}\n[endpoints.here]\n{endpoint}\n")
    place.run("submit", SAMPLE, "--debate", "posting")
    end = place.json("process-pending", "--max-tasks", str(tasks))
    assert (end["status"], end["done"] + end["failed"]) == ("done", tasks)


def shares(place: Place) -> dict[str, float]:
    """The part of the prompt tokens that came from the cache, by role and in all."""
    found = place.rows(
        "SELECT role, 1.0 * sum(cached_tokens) / sum(prompt_tokens) FROM turns GROUP BY 1"
        " UNION ALL SELECT 'all', 1.0 * sum(cached_tokens) / sum(prompt_tokens) FROM turns"
    )
    print(", ".join(f"{name} {share:.1%}" for name, share in found))
    return dict(found)


@pytest.mark.slow
def test_server_caches_most_prompt_tokens(place: Place, tiny_models: dict[str, Path]) -> None:
    # A slot reads the rules once, which sixteen tasks outweigh.
    with LlamaCppServer(tiny_models[MODEL], slots=1, context=8192) as server:
        debated(place, f'backend = "vllm"\nurl = "{server.url}"\nmodels = ["{MODEL}"]', workers=1, tasks=16)

    assert shares(place)["all"] >= LEAST


@pytest.mark.slow
def test_later_turns_reuse_the_record(place: Place, tiny_models: dict[str, Path]) -> None:
    debated(place, f'backend = "llamacpp"\ngguf = {{ "{MODEL}" = "{tiny_models[MODEL]}" }}', workers=4, tasks=8)

    found = shares(place)

    assert min(found["critic"], found["judge"]) >= LEAST
