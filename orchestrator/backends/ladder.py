"""How an endpoint goes on with less where memory runs out: the rungs that cards name, and which one each model is on.

No clock, no chance, no effects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from orchestrator.ports import Sampling

PATIENCE = (64, 1024)  # turns that have to go well until more is tried again: at first, at most
TOO_LONG = 3  # prompts that are too long for less, and nothing else in between: then more is tried again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A model, and how it is run."""

    model: str
    sampling: Sampling

    def __str__(self) -> str:
        return f"{self.model} with a context of {self.sampling.context} tokens"


def rungs(model: str, sampling: Sampling) -> tuple[Rung, ...]:
    """What a card asks for, and then less and less of it, as far as it names something smaller."""
    smaller = replace(sampling, context=min(sampling.context, sampling.fallback_context or sampling.context))
    models = (model, sampling.fallback_model) if sampling.fallback_model else (model,)
    found = [Rung(model=each, sampling=size) for each in models for size in (sampling, smaller)]
    return tuple(dict.fromkeys(found))


class Ladder:
    """Which rung each model stands on. It goes down when memory runs out, and up after many turns that went well."""

    def __init__(self) -> None:
        self._at: Counter[str] = Counter()
        self._well: Counter[str] = Counter()  # turns since it moved
        self._too_long: Counter[str] = Counter()  # prompts since a turn went well
        self._patience: dict[str, int] = {}

    def rung(self, model: str, sampling: Sampling) -> Rung:
        """What is called in place of a model."""
        steps = rungs(model, sampling)
        return steps[min(self._at[model], len(steps) - 1)]

    def moved(self, model: str) -> bool:
        """Whether it is not called as its card asks."""
        return self._at[model] > 0

    def down(self, model: str, sampling: Sampling) -> bool:
        """Memory ran out: take the next smaller rung. False if there is none."""
        if self._at[model] + 1 >= len(rungs(model, sampling)):
            return False
        if model in self._patience:
            self._patience[model] = min(2 * self._patience[model], PATIENCE[1])
        self._move(model, 1)
        return True

    def went_well(self, model: str) -> None:
        """A turn was spoken."""
        self._well[model] += 1
        self._too_long[model] = 0

    def too_long(self, model: str) -> None:
        """A prompt did not fit the smaller context."""
        self._too_long[model] += 1

    def impatient(self, model: str) -> bool:
        """Whether the next larger rung is to be tried again."""
        patience = self._patience.get(model, PATIENCE[0])
        return self.moved(model) and (self._well[model] >= patience or self._too_long[model] >= TOO_LONG)

    def up(self, model: str) -> None:
        """Try the next larger rung."""
        self._patience.setdefault(model, PATIENCE[0])
        self._move(model, -1)

    def _move(self, model: str, by: int) -> None:
        self._at[model] += by
        self._well[model] = self._too_long[model] = 0
