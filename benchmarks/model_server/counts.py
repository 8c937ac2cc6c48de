"""What the server counts while it works, for `/_stats`; and what happened when, for `/_timeline`. Simulated seconds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any, TypeAlias

from .events import Simulation

Json: TypeAlias = dict[str, Any]

# A run of 20,000 debates makes about this many events; what comes later is counted but not kept.
MOST_EVENTS = 500_000


class Level:
    """Something that goes up and down: its largest value, its mean over time, and how long it was not zero."""

    def __init__(self, sim: Simulation, value: int, began: float) -> None:
        self.value = self.most = value
        self._sim = sim
        self._began = began
        self._since = sim.now
        self._area = self._above = 0.0

    def set(self, value: int) -> None:
        """Take a new value from now on."""
        self._settle()
        self.value = value
        self.most = max(self.most, value)

    def seconds(self) -> float:
        """How long it was not zero."""
        self._settle()
        return self._above

    def as_json(self) -> Json:
        """Now, most, mean."""
        self._settle()
        passed = self._since - self._began
        return {"now": self.value, "most": self.most, "mean": self._area / passed if passed else self.value}

    def _settle(self) -> None:
        passed = self._sim.now - self._since
        self._area += self.value * passed
        self._above += passed if self.value else 0.0
        self._since = self._sim.now


class Counts:
    """Counters since the start or the last reset. Levels keep their values over a reset, and count anew."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._levels: dict[str, Level] = {}
        self._wanted: Counter[str] = Counter()
        self._clear()
        self.level("idle").set(1)

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._levels = {name: Level(self._sim, level.value, self._sim.now) for name, level in self._levels.items()}
        self._clear()

    def _clear(self) -> None:
        self.total: Counter[str] = Counter()
        self.by_model: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.statuses: Counter[str] = Counter()
        self.timeline: list[Json] = []
        self.began = self._sim.now
        self.first_call: float | None = None
        self.last_end = self._sim.now

    def level(self, name: str) -> Level:
        """A level by its name, made on first use."""
        if name not in self._levels:
            self._levels[name] = Level(self._sim, 0, self.began)
        return self._levels[name]

    def event(self, kind: str, model: str = "", **more: Any) -> None:
        """Write down that something happened now."""
        if len(self.timeline) < MOST_EVENTS:
            self.timeline.append({"t": self._sim.now, "event": kind, "model": model, **more})

    def add(self, name: str, model: str, amount: int = 1) -> None:
        """Count for the whole server and for a model."""
        self.total[name] += amount
        self.by_model[model][name] += amount

    def arrive(self, model: str) -> None:
        """A call for a model has come."""
        self.first_call = self._sim.now if self.first_call is None else self.first_call
        self.add("calls", model)
        self._want(model, 1)

    def leave(self, model: str, status: int) -> None:
        """A call for a model is over; 499 is a client that went away."""
        self.last_end = self._sim.now
        self.statuses[str(status)] += 1
        self._want(model, -1)

    def _want(self, model: str, change: int) -> None:
        self._wanted[model] += change
        self.level("in_flight").set(self._wanted.total())
        self.level("models_wanted").set(sum(calls > 0 for calls in self._wanted.values()))

    def busy(self, busy: bool) -> None:
        """The GPU works on a reply, or does not."""
        self.level("busy").set(int(busy))
        self._idle()

    def loading(self, models: int) -> None:
        """So many models are being loaded or unloaded."""
        self.level("loading").set(models)
        self._idle()

    def _idle(self) -> None:
        self.level("idle").set(int(not self.level("busy").value and not self.level("loading").value))

    def as_json(self) -> Json:
        """Everything counted, by name; `span_s` is from the first arrival to the last end."""
        names = ["loads", "reloads", "evictions", "unloads", "aborts", "calls", "replies"]
        names += ["prompt_tokens", "cached_tokens", "reply_tokens"]
        span = 0.0 if self.first_call is None else self.last_end - self.first_call
        return {
            "now_s": self._sim.now,
            "counted_s": self._sim.now - self.began,
            "span_s": span if math.isfinite(span) else 0.0,
            **{name: self.total[name] for name in names},
            "busy_s": self.level("busy").seconds(),
            "loading_s": self.level("loading").seconds(),
            "idle_s": self.level("idle").seconds(),
            "most_models_wanted": self.level("models_wanted").most,
            "statuses": dict(self.statuses),
            "levels": {name: level.as_json() for name, level in self._levels.items()},
            "models": {model: dict(counter) for model, counter in self.by_model.items()},
        }
