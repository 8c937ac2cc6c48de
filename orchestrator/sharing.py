"""What actors that share a model must agree on: all that makes a server load it again.

Ollama 0.33 loads a model again for another `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`, `num_thread`,
`draft_num_predict`, `shift` or adapter. Of these a card can say only the first, its `context`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

from orchestrator.ports import Sampling


class Sharing(Protocol):
    """An actor, as far as it matters here; `card` is the name of its file."""

    @property
    def card(self) -> str:
        """The name of its file in actors/."""
        ...

    @property
    def model(self) -> str:
        """The model it speaks with."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How that model is run."""
        ...


def disagreement(actors: Sequence[Sharing]) -> str | None:
    """Which two actors share a model but not what it is loaded with, and what to do; None if all agree."""
    for one, other in combinations(actors, 2):
        if one.model == other.model and one.sampling.context != other.sampling.context:
            return (
                f"actors/{one.card}.toml and actors/{other.card}.toml share the model {one.model!r} but not its "
                f"context ({one.sampling.context} and {other.sampling.context}): each change would load it again; "
                "give both the same"
            )
    return None
