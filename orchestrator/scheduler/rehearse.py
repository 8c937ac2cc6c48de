"""A run played through on paper: the plan's own decisions, over counts of tasks instead of tasks.

Because `plan.decide` is asked, with the same facts as in a run, the loads that come out are those the run will make,
as long as no turn fails at the end of a group and nobody else uses the endpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestrator.domain import Digest, Step, Waiting
from orchestrator.scheduler import plan
from orchestrator.scheduler.fewest import Room

_LAST_WAVES = 2  # rounds of them are played through although they look like those before
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One endpoint's part in a run.

    Attributes:
        models: those it speaks with.
        loaded: those it has loaded when the run begins.
        room: what it can hold at once; None if all of `models` fit.
        wave_size: tasks in a wave; None where there are no waves.
    """

    endpoint: str
    models: frozenset[str]
    loaded: tuple[str, ...]
    room: Room | None
    wave_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """Turns of one step in a row, or a load before them."""

    load: str = ""
    digest: Digest | None = None
    step: Step | None = None
    turns: int = 0


_Group = tuple[Digest, Step, bool, int]  # digest, step, fresh, priority


@dataclass(slots=True)
class _Paper:
    part: Part
    orders: Mapping[Digest, Sequence[Step]]
    left: Counter[_Group]
    loaded: tuple[str, ...]
    wave: dict[Digest, int] | None
    spells: list[Spell]
    first: bool = True
    # How things stood when earlier waves began: how many spells there were by then, and fresh tasks.
    seen: dict[str, tuple[int, dict[_Group, int]]] = field(default_factory=dict)

    def facts(self, chains: plan.Chains) -> plan.Facts:
        return plan.Facts(
            here=self.part.endpoint,
            loaded=self.loaded,
            room=self.part.room,
            chains=chains,
            waiting=tuple(_waiting(key, count) for key, count in sorted(self.left.items(), key=repr)),
            speaking=(),
            leased=0,
            may_begin=True,
            wave=self.wave,
            wave_size=self.part.wave_size or 1,
            first=self.first,
            patience_s=0.0,
            now=_NO_TIME,
        )

    def begin(self, wave: Mapping[Digest, int]) -> None:
        """Begin a wave. If it finds everything as an earlier one did, what came between comes again and again."""
        self.wave = dict(wave)
        self.first = False
        begun = sorted((entry for entry in self.left.items() if entry[1] and not entry[0][2]), key=repr)
        fresh = {key: count for key, count in self.left.items() if count and key[2]}
        stands = repr((self.loaded, sorted(wave.items()), begun, sorted(fresh, key=repr)))
        if stands in self.seen:
            since, before = self.seen[stands]
            gone = {key: before[key] - count for key, count in fresh.items() if before[key] > count}
            again = max(0, min(fresh[key] // count for key, count in gone.items()) - _LAST_WAVES)
            self.spells += self.spells[since:] * again
            for key, count in gone.items():
                self.left[key] -= count * again
            self.seen.clear()
            return
        self.seen[stands] = len(self.spells), fresh

    def speak(self) -> None:
        """Everything that the loaded models can say: tasks begun before first."""
        while keys := [key for key in self.left if key[1].model in self.loaded and self._admits(key)]:
            self._speak(min(keys, key=lambda key: (key[2], -key[3], repr(key))))

    def _admits(self, key: _Group) -> bool:
        digest, _, fresh, _ = key
        return self.left[key] > 0 and (not fresh or self.wave is None or self.wave.get(digest, 0) > 0)

    def _speak(self, key: _Group) -> None:
        digest, step, fresh, priority = key
        count = self.left.pop(key)
        if fresh and self.wave is not None:
            turns = min(count, self.wave[digest])
            self.wave[digest] -= turns
            if count > turns:
                self.left[key] = count - turns
            count = turns
        self.spells.append(Spell(digest=digest, step=step, turns=count))
        order = self.orders[digest]
        for then in order[order.index(step) + 1 :]:
            if then.model in self.part.models:
                self.left[digest, then, False, priority] += count
                return


def rehearse(part: Part, orders: Mapping[Digest, Sequence[Step]], waiting: Sequence[Waiting]) -> list[Spell]:
    """What an endpoint does with what waits, in order: loads, and turns of one step.

    `waiting` are pending turns of its models, and for tasks that wait for another endpoint the first turn that this
    one will speak. `orders` are the steps of each digest. Nothing is assumed to fail or to end early.
    """
    paper = _Paper(part, orders, Counter(), part.loaded, None if part.wave_size is None else {}, [])
    for each in waiting:
        paper.left[each.digest, each.step, each.fresh, each.priority] += each.ready + each.later
    if part.room is None:
        missing = sorted(part.models - set(part.loaded)) if waiting else []
        paper.spells += [Spell(load=model) for model in missing]
        paper.loaded = tuple(sorted(part.models))
    chains = plan.chains(orders, part.models)
    while True:
        match plan.decide(paper.facts(chains)):
            case plan.Speak():
                paper.speak()
            case plan.Begin(wave=wave):
                paper.begin(wave)
            case plan.Load() as load:
                paper.loaded = (*(model for model in paper.loaded if model not in load.unload), load.load)
                paper.spells.append(Spell(load=load.load))
            case _:
                return paper.spells


def _waiting(key: _Group, count: int) -> Waiting:
    digest, step, fresh, priority = key
    return Waiting(
        digest=digest, step=step, fresh=fresh, priority=priority, home="", ready=count, later=0, next_at=None
    )
