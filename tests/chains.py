"""Debates written as words: each letter is a model, each place a step; "aba/2" is a second debate like "aba"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from orchestrator.domain import Digest, Role, Step, Waiting
from orchestrator.scheduler import plan
from orchestrator.scheduler.fewest import Room

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def order(word: str) -> list[Step]:
    """Its steps: advocate and critic in turns, the judge last."""
    models = word.split("/")[0]
    roles = [(Role.ADVOCATE, Role.CRITIC)[place % 2] for place in range(len(models) - 1)] + [Role.JUDGE]
    rounds = [place // 2 + 1 for place in range(len(models) - 1)] + [1]
    return [
        Step(role=role, round=number, model=model) for role, number, model in zip(roles, rounds, models, strict=True)
    ]


def orders(*words: str) -> dict[Digest, list[Step]]:
    """The steps of several debates, by digest."""
    return {Digest(word): order(word) for word in words}


def turns(
    word: str, ready: int = 0, *, place: int = 0, later: int = 0, in_s: float = 60, priority: int = 0, home: str = ""
) -> Waiting:
    """Pending turns of one step of a debate."""
    return Waiting(
        digest=Digest(word),
        step=order(word)[place],
        fresh=place == 0,
        priority=priority,
        home=home,
        ready=ready,
        later=later,
        next_at=NOON + timedelta(seconds=in_s) if later else None,
    )


@dataclass(kw_only=True)
class Night:
    """An endpoint that does what the plan says; turns in flight end in any order. Keeps what came of it."""

    room: Room | None
    wave_size: int | None
    chance: Random
    seats: int = 4
    left: Counter[tuple[str, int, int]] = field(default_factory=Counter)  # by word, place and priority
    loaded: tuple[str, ...] = ()
    loads: list[str] = field(default_factory=list)
    spoken: Counter[tuple[str, int]] = field(default_factory=Counter)
    waves: list[Mapping[Digest, int]] = field(default_factory=list)
    in_flight_at_waves: list[int] = field(default_factory=list)

    def go(self) -> Night:
        """Work until the plan says rest."""
        self._wave: dict[Digest, int] | None = None if self.wave_size is None else {}
        self._first = True
        self._flying: list[tuple[str, int, int]] = []
        self._chains = plan.chains(orders(*{word for word, _, _ in self.left}), "abcdefgh")
        while True:
            self._claim()
            if not self._flying or (
                self._wave is not None and len(self._flying) < self.seats and not any(self._ends())
            ):
                decision = plan.decide(self._facts())
                if isinstance(decision, plan.Rest):
                    return self
                self._do(decision)
            self._answer()

    def _claim(self) -> None:
        while len(self._flying) < self.seats:
            keys = [key for key in +self.left if order(key[0])[key[1]].model in self.loaded and self._admits(key)]
            if not keys:
                return
            key = min(keys, key=lambda key: (key[1] == 0, -key[2], key))
            self.left[key] -= 1
            if key[1] == 0 and self._wave is not None:
                self._wave[Digest(key[0])] -= 1
            self._flying.append(key)

    def _admits(self, key: tuple[str, int, int]) -> bool:
        return key[1] > 0 or self._wave is None or self._wave.get(Digest(key[0]), 0) > 0

    def _ends(self) -> list[tuple[str, ...]]:
        return [
            plan.flying(self._chains, Digest(word), order(word)[place], self.loaded) for word, place, _ in self._flying
        ]

    def _facts(self) -> plan.Facts:
        return plan.Facts(
            here="gpu",
            loaded=self.loaded,
            room=self.room,
            chains=self._chains,
            waiting=tuple(
                turns(word, count, place=place, priority=priority)
                for (word, place, priority), count in self.left.items()
            ),
            speaking=tuple(self._ends()),
            leased=len(self._flying),
            may_begin=True,
            wave=self._wave,
            wave_size=self.wave_size or 1,
            first=self._first,
            patience_s=0.0,
            now=NOON,
        )

    def _do(self, decision: plan.Decision) -> None:
        match decision:
            case plan.Load(unload=unload, load=load):
                self.loaded = (*(model for model in self.loaded if model not in unload), load)
                self.loads.append(load)
                assert not self._flying, "a load while somebody speaks"
                assert self.room is None or self.room.fits(self.loaded)
            case plan.Begin(wave=wave):
                assert self._first or wave != self._wave, "a wave that changes nothing"
                self._wave, self._first = dict(wave), False
                self.waves.append(wave)
                self.in_flight_at_waves.append(len(self._flying))
            case _:
                assert self._flying, f"{decision} with nothing in flight"

    def _answer(self) -> None:
        if not self._flying:
            return
        word, place, priority = self._flying.pop(self.chance.randrange(len(self._flying)))
        self.spoken[word, place] += 1
        then = place + 1
        if then == len(order(word)):
            return
        if order(word)[then].model in self.loaded:
            self._flying.append((word, then, priority))
        else:
            self.left[word, then, priority] += 1
