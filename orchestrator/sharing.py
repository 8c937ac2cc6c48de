"""What actors that share a model must agree on: all that makes a server load it again.

Ollama 0.33 loads a model again for another `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`, `num_thread`,
`draft_num_predict`, `shift` or adapter. Of these a card can say only the first, its `context`, and what to take in its
place where memory runs out. A fallback model is loaded with the same contexts as the model that it stands in for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Protocol

from orchestrator.ports import Sampling

_LOADED_WITH = ("context", "fallback_context")
_BECAUSE = {
    **dict.fromkeys(_LOADED_WITH, "each change would load it again"),
    "fallback_model": "where memory runs out, only one other can take its place",
}


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
    """Which two actors share a model but not what it is loaded with, and what to do; None if all agree.

    They also share a model that is the fallback of one of them, or of both.
    """
    return next((_said(*pair, *found) for pair in combinations(actors, 2) for found in _differences(*pair)), None)


def _differences(one: Sharing, other: Sharing) -> Iterator[tuple[str, str]]:
    """Each model that two actors share with a field that they do not."""
    theirs = _models(other)
    for model in _models(one):
        for field in _LOADED_WITH if model in theirs else ():
            if getattr(one.sampling, field) != getattr(other.sampling, field):
                yield model, field
    if one.model == other.model and one.sampling.fallback_model != other.sampling.fallback_model:
        yield one.model, "fallback_model"


def _models(actor: Sharing) -> list[str]:
    return [model for model in (actor.model, actor.sampling.fallback_model) if model]


def _said(one: Sharing, other: Sharing, model: str, field: str) -> str:
    first, second = (getattr(each.sampling, field) or "none" for each in (one, other))
    return (
        f"actors/{one.card}.toml and actors/{other.card}.toml share the model {model!r} but not its {field} "
        f"({first} and {second}): {_BECAUSE[field]}; give both the same"
    )
