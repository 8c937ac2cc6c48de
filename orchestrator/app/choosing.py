"""Waves or depth first, by what both would cost; and what an endpoint's part of a run comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.app.casting import Casting
from orchestrator.app.working import Order, Working, orders, room_of, turns_in_flight, wave_of
from orchestrator.cast import Debate
from orchestrator.config import Settings
from orchestrator.domain import Digest, Role, Waiting
from orchestrator.measures import ModelFile
from orchestrator.scheduler.fewest import Room
from orchestrator.scheduler.forecast import Costs, Forecast, charges, forecast
from orchestrator.scheduler.meter import options
from orchestrator.scheduler.rehearse import Part, Spell, rehearse
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns

_ENOUGH = 100  # turns, until the number in flight that a run found is believed
_UNKNOWN = 4  # turns in flight to reckon with while nobody knows


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of one endpoint before a run.

    Attributes:
        files: what it tells of its models; asked for only where it matters, None if it did not answer.
        loaded: what it has loaded.
        turns, loads: what earlier runs measured.
    """

    settings: Settings
    casting: Casting
    debates: Sequence[Debate]
    files: Mapping[str, ModelFile] | None
    loaded: frozenset[str]
    turns: Sequence[MeasuredTurns]
    loads: Sequence[MeasuredLoads]

    @cached_property
    def room(self) -> Room | None:
        """What it can hold at once; None if all of its models fit. Raises ConfigError."""
        return room_of(self.casting, self.files)

    @cached_property
    def costs(self) -> Costs:
        """What its turns and loads cost with as many turns in flight as there will be."""
        turns, loads = self._of_these_models()
        working = self._working()
        found, in_flight = charges([(each.run_id, each.rate) for each in turns], working.in_flight)
        means: dict[str, list[float]] = {}
        for load in loads:
            total = means.setdefault(load.rate.model, [0.0, 0.0])
            total[0] += load.rate.seconds
            total[1] += load.rate.loads
        seconds = {model: total / count for model, (total, count) in means.items()}
        return Costs(charges=found, loads=seconds, in_flight=working.in_flight or in_flight or _UNKNOWN)

    @property
    def sure(self) -> bool:
        """Whether enough was measured to tell how many turns will be in flight; a probe alone shows too few."""
        measured, _ = self._of_these_models()
        return self._working().in_flight is not None or sum(each.rate.turns for each in measured) >= _ENOUGH

    @property
    def speed(self) -> float:
        """Debates a second, as far as they are spoken here; else the weight that was given."""
        chain = [(step.model, step.role) for order in orders(self.debates).values() for step in order]
        mine = [turn for turn in chain if turn[0] in self.casting.models]
        if any(turn not in self.costs.charges for turn in mine):
            return 0.0
        return 1.0 / sum(self.costs.charges[turn].seconds for turn in mine)

    def choose(self, waiting: Sequence[Waiting], lengths: Mapping[tuple[Digest, Role], float]) -> Choice:
        """How it is to be worked, and what that comes to."""
        slots = self._working().slots or self.costs.in_flight
        size = wave_of(self.settings, self.casting, self.debates, self.room, self.costs, slots)
        waves = self._choice("waves", size, waiting, lengths)
        depth = self._choice("depth", None if self.room is None else self.costs.in_flight, waiting, lengths)
        match self.settings.order:
            case "waves":
                return waves.because("waves were asked for")
            case "depth":
                at_once = "" if self.room is None else ", as many at a time as are in flight"
                return depth.because(f"depth first was asked for{at_once}")
            case "auto":
                return self._better(waves, depth)

    def _better(self, waves: Choice, depth: Choice) -> Choice:
        if self.room is None:
            better, other, why = depth, waves, "all of its models fit: depth first keeps each task's prompt cached"
        else:
            better, other, why = waves, depth, f"its {len(self.casting.models)} models do not fit together: waves"
        if better.forecast is None or other.forecast is None:
            return better.because(why)
        ours, theirs = better.forecast.seconds, other.forecast.seconds
        if theirs < ours:
            return other.because(f"it costs less here ({theirs:,.0f} s against {ours:,.0f} s)")
        if round(theirs) == round(ours):
            return better.because(why)
        return better.because(f"{why} ({ours:,.0f} s against {theirs:,.0f} s)")

    def _choice(
        self,
        order: Order,
        wave_size: int | None,
        waiting: Sequence[Waiting],
        lengths: Mapping[tuple[Digest, Role], float],
    ) -> Choice:
        part = Part(
            endpoint=self.casting.name,
            models=frozenset(self.casting.models),
            loaded=tuple(sorted(self.loaded & self.casting.models.keys())),
            room=self.room,
            wave_size=wave_size,
        )
        spells = rehearse(part, orders(self.debates), waiting)
        told = forecast(spells, self.costs, lengths, depth=wave_size is None)
        if told is not None and not self.sure:
            told = replace(told, low=0.0)
        # A tenth less than was found before: below the best a little time is lost, above it every prompt.
        first = max(1, round(0.9 * self.costs.in_flight)) if self.costs.charges else None
        measured = [each.rate for each in self._of_these_models()[0]]
        return Choice(
            working=replace(self._working(order, wave_size, first), measured=measured),
            spells=spells,
            forecast=told,
            costs=self.costs,
            sure=self.sure,
        )

    def _working(self, order: Order = "depth", wave_size: int | None = None, first: int | None = None) -> Working:
        workers, slots = turns_in_flight(self.settings, self.casting)
        return Working(
            casting=self.casting,
            room=self.room,
            workers=workers,
            slots=slots,
            first=first,
            order=order,
            wave_size=wave_size,
            why="",
        )

    def _of_these_models(self) -> tuple[list[MeasuredTurns], list[MeasuredLoads]]:
        """Those measured here with the models' newest files and the present settings."""
        newest: dict[str, str] = {}
        wanted = {model: options(sampling) for model, sampling in self.casting.models.items()}
        turns = []
        for each in self.turns:
            rate = each.rate
            if rate.endpoint != self.casting.name or wanted.get(rate.model) != rate.options:
                continue
            if newest.setdefault(rate.model, rate.model_digest) == rate.model_digest:
                turns.append(each)
        loads = [
            each
            for each in self.loads
            if each.rate.endpoint == self.casting.name
            and newest.setdefault(each.rate.model, each.rate.model_digest) == each.rate.model_digest
        ]
        return turns, loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How an endpoint is to be worked, and what it will do then; no forecast where rates are not known."""

    working: Working
    spells: Sequence[Spell]
    forecast: Forecast | None
    costs: Costs
    sure: bool

    def because(self, why: str) -> Choice:
        """The same, with its reason."""
        return replace(self, working=replace(self.working, why=why))
