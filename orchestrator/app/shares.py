"""Which pending turns each endpoint will speak: its own, and its share where several serve the same models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.app.casting import Casting
from orchestrator.domain import Digest, Step, Waiting

Orders = Mapping[Digest, Sequence[Step]]


def shares(
    waiting: Sequence[Waiting], castings: Sequence[Casting], orders: Orders, speeds: Mapping[str, float]
) -> dict[str, list[Waiting]]:
    """For every endpoint the turns it will begin with: those that wait for it, and those that will come from others.

    Tasks that several endpoints could take are split by `speeds`, which are relative.
    """
    found: dict[str, list[Waiting]] = {casting.name: [] for casting in castings}
    for each in waiting:
        for takers in _takers(each, castings, orders):
            total = sum(speeds[casting.name] for casting, _ in takers)
            left, weight = each.ready + each.later, total
            for casting, step in takers:
                count = round(left * speeds[casting.name] / weight) if weight else 0
                left, weight = left - count, weight - speeds[casting.name]
                fresh = each.fresh and step == each.step
                if count:
                    found[casting.name].append(replace(each, step=step, fresh=fresh, home="", ready=count, later=0))
    return found


def _takers(each: Waiting, castings: Sequence[Casting], orders: Orders) -> list[list[tuple[Casting, Step]]]:
    """The endpoints that a task will come to; those that could take the same of its steps together.

    Where endpoints share some of the models only, those with the most of them are reckoned with.
    """
    order = orders[each.digest]
    rest = order[order.index(each.step) :]
    groups: list[tuple[set[str], list[tuple[Casting, Step]]]] = []
    for casting in sorted(castings, key=lambda casting: -len(_spoken(casting, rest))):
        models = _spoken(casting, rest)
        first = next((step for step in rest if step.model in models), None)
        if first is None:
            continue
        group = next((group for group in groups if group[0] & models), None)
        if group is None:
            groups.append((models, [(casting, first)]))
        elif group[0] == models:
            group[1].append((casting, first))
    return [[taker for taker in takers if taker[0].name == each.home] or takers for _, takers in groups]


def _spoken(casting: Casting, steps: Sequence[Step]) -> set[str]:
    return {step.model for step in steps if step.model in casting.models}
