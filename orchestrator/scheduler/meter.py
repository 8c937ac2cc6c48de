"""What turns cost an endpoint: its time, shared evenly at every moment by the turns in flight.

With q turns in flight each of them is charged 1/q of the time that passes, so that the charges of all turns add up to
the time the endpoint was busy, however long each turn had to share it. A turn's mean number in flight is its length
over its charge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain import Role, TaskId, Turn
from orchestrator.measures import LoadRate, ModelFile, TurnRate
from orchestrator.ports import Clock, Sampling

_STEP = 1.25


@dataclass(slots=True, kw_only=True)
class _Sum:
    turns: int = 0
    seconds: float = 0.0
    squares: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    reply_tokens: int = 0


class Meter:
    """Charges the turns of one endpoint, and sums the charges by model, role and number in flight."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._charge = 0.0  # of a turn that was in flight all the time
        self._speaking: dict[TaskId, tuple[float, float]] = {}
        self._charged: dict[TaskId, tuple[float, float]] = {}
        self._turns: dict[tuple[str, Role, int], _Sum] = {}
        self._loads: dict[str, tuple[int, float]] = {}

    @property
    def in_flight(self) -> int:
        """Turns sent and not answered yet."""
        return len(self._speaking)

    def beside(self, task_id: TaskId) -> int:
        """Turns in flight beside this task's."""
        return len(self._speaking) - (task_id in self._speaking)

    def mark(self) -> tuple[float, float]:
        """The time now, and the charge of a turn that was in flight all the time; only differences mean anything."""
        self._pass()
        return self._at, self._charge

    def start(self, task_id: TaskId) -> None:
        """A turn is sent."""
        self._pass()
        self._speaking[task_id] = self._at, self._charge

    def stop(self, task_id: TaskId) -> None:
        """Its reply is there, or it failed."""
        self._pass()
        begun = self._speaking.pop(task_id, None)
        if begun is not None:
            self._charged[task_id] = self._at - begun[0], self._charge - begun[1]

    def spoke(self, task_id: TaskId, turn: Turn) -> None:
        """Count a turn that went well."""
        seconds, charge = self._charged.pop(task_id, (0.0, 0.0))
        if charge <= 0.0:
            return
        key = turn.model, turn.role, level(seconds / charge)
        total = self._turns.setdefault(key, _Sum())
        total.turns += 1
        total.seconds += charge
        total.squares += charge**2
        total.prompt_tokens += turn.usage.prompt_tokens or 0
        total.cached_tokens += turn.usage.cached_tokens or 0
        total.reply_tokens += turn.usage.reply_tokens or 0

    def forget(self, task_id: TaskId) -> None:
        """A visit is over; a turn of it that failed is not counted."""
        self.stop(task_id)
        self._charged.pop(task_id, None)

    def loaded(self, model: str, seconds: float) -> None:
        """Count a load."""
        loads, total = self._loads.get(model, (0, 0.0))
        self._loads[model] = loads + 1, total + seconds

    def load_s(self) -> float:
        """The mean seconds of a load so far; 0 before the first."""
        loads = sum(count for count, _ in self._loads.values())
        return sum(seconds for _, seconds in self._loads.values()) / loads if loads else 0.0

    def rates(
        self, endpoint: str, models: Mapping[str, Sampling], files: Mapping[str, ModelFile]
    ) -> tuple[list[TurnRate], list[LoadRate]]:
        """What was measured, as it is kept."""
        digests = {model: files.get(model, ModelFile()).digest for model in models}
        turns = [
            TurnRate(
                endpoint=endpoint,
                model=model,
                model_digest=digests[model],
                options=options(models[model]),
                role=role,
                in_flight=in_flight,
                turns=total.turns,
                seconds=total.seconds,
                squares=total.squares,
                prompt_tokens=total.prompt_tokens,
                cached_tokens=total.cached_tokens,
                reply_tokens=total.reply_tokens,
            )
            for (model, role, in_flight), total in self._turns.items()
            if model in models  # and is not one that stood in where memory ran out
        ]
        loads = [
            LoadRate(endpoint=endpoint, model=model, model_digest=digests[model], loads=count, seconds=seconds)
            for model, (count, seconds) in self._loads.items()
        ]
        return turns, loads

    def _pass(self) -> None:
        now = self._clock.monotonic()
        if self._speaking:
            self._charge += (now - self._at) / len(self._speaking)
        self._at = now


def level(in_flight: float) -> int:
    """The number in flight, rounded to steps of a quarter so that a night has a few levels and not hundreds."""
    if in_flight < 4.5:
        return max(1, round(in_flight))
    return round(_STEP ** round(math.log(in_flight, _STEP)))


def options(sampling: Sampling) -> str:
    """What else of a model's settings shapes its speed."""
    return f"context={sampling.context}"
