"""What a run would do, said beforehand: turns, loads, tokens and time, and what the figures rest on.

A run is begun with the same plan: how each endpoint is worked is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from orchestrator.app.asking import Told, ask, taking_part
from orchestrator.app.casting import Casting, cast_models
from orchestrator.app.choosing import Choice, Seen
from orchestrator.app.shares import shares
from orchestrator.app.tokens import PlannedRole, planned_roles, turns_by_role
from orchestrator.app.waiting import waiting_turns
from orchestrator.app.working import Order, Working, orders, room_of
from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.domain import Digest, Role
from orchestrator.measures import Prediction
from orchestrator.scheduler.forecast import length
from orchestrator.store.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEndpoint:
    """One endpoint's share of a run.

    Times are in seconds from the run's start, None for unknown; `low` and `high` are the ends of the interval that
    nine runs in ten end in. `loads` are exact while `exact` says so: no other endpoint decides what comes here. One
    that does not answer has no turns if others can take them; if nobody can, the figures are as if it did answer.
    """

    endpoint: str
    backend: str
    answers: bool
    models: tuple[str, ...]
    holds: int | None  # models at once; None for all, or as many as fit
    max_workers: int | None  # None: found while running
    order: Order
    wave_size: int | None  # None: no waves
    why: str
    turns: int
    loads: int
    exact: bool
    seconds: float | None
    low: float | None
    high: float | None
    first_verdict: float | None
    rests_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do now.

    `superseded` are pending tasks of older digests, which a run replaces by tasks of the present one. Times as in
    `PlannedEndpoint`, for the run as a whole; `verdicts` is how many there would be within the time asked about.
    """

    tasks: int
    superseded: int
    seconds: float | None
    low: float | None
    high: float | None
    first_verdict: float | None
    verdicts: int | None
    roles: list[PlannedRole]
    endpoints: list[PlannedEndpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A plan together with how each endpoint is to be worked for it."""

    plan: Plan
    workings: Sequence[Working]

    @property
    def predictions(self) -> list[Prediction]:
        """What is kept of it beside the run."""
        said = [_prediction(each.endpoint, each.turns, each.loads, each) for each in self.plan.endpoints]
        turns, loads = sum(each.turns for each in said), sum(each.loads for each in said)
        return [_prediction("", turns, loads, self.plan), *said]


def _prediction(endpoint: str, turns: int, loads: int, timed: Plan | PlannedEndpoint) -> Prediction:
    return Prediction(
        endpoint=endpoint,
        turns=turns,
        loads=loads,
        seconds=timed.seconds,
        low=timed.low,
        high=timed.high,
        first_verdict=timed.first_verdict,
    )


def plan(workplace: Workplace, name: str | None, within_s: float | None = None) -> Plan:
    """What `process-pending` would do, and how much of it within `within_s` seconds. Reads only; calls no model.

    Raises:
        CastError, ConfigError: what a run would stop at, too.
    """
    return outlook(workplace, workplace.debates(name), within_s=within_s).plan


def outlook(
    workplace: Workplace,
    debates: Sequence[Debate],
    *,
    endpoint: str | None = None,
    max_tasks: int | None = None,
    within_s: float | None = None,
) -> Outlook:
    """What a run of these debates would do, on all endpoints or on one, and how.

    Raises:
        CastError, ConfigError: what a run would stop at, too.
    """
    castings = cast_models(workplace.config, debates, endpoint)
    told = ask(workplace, castings)
    taking = taking_part(castings, told)
    with workplace.reading() as reading:
        waiting, superseded = waiting_turns(reading, workplace.config.database, debates, max_tasks)
        turns = turns_by_role(waiting, orders(debates))
        roles = planned_roles(reading, debates, turns, taking)
        known = _known(workplace, reading, debates, castings, told)
    split = shares(waiting, taking, orders(debates), _speeds([each for each in known if each.casting in taking]))
    choices = [each.choose(split.get(each.casting.name, []), _lengths(debates, roles)) for each in known]
    tasks = sum(each.ready for each in waiting)
    measured = {each.rate.endpoint for seen in known for each in seen.turns}
    planned = [
        _endpoint(choice, each.answers, len(taking), measured) for choice, each in zip(choices, told, strict=True)
    ]
    plan = _whole(planned, tasks, superseded, roles)
    if within_s is not None and all(choice.forecast for choice in choices):
        by = sum(choice.forecast.by(within_s) for choice in choices if choice.forecast)
        plan = replace(plan, verdicts=by)
    return Outlook(plan=plan, workings=[choice.working for choice in choices])


def _known(
    workplace: Workplace,
    reading: Reading,
    debates: Sequence[Debate],
    castings: Sequence[Casting],
    told: Sequence[Told],
) -> list[Seen]:
    turns, loads = reading.rates()
    agreed = reading.residents()
    return [
        Seen(
            settings=workplace.config.settings,
            casting=casting,
            debates=debates,
            files=each.files,
            # Where models take turns, a run uses on only what earlier runs left loaded.
            loaded=each.loaded & set(agreed.get(casting.name, ())) if room_of(casting, each.files) else each.loaded,
            turns=turns,
            loads=loads,
        )
        for casting, each in zip(castings, told, strict=True)
    ]


def _whole(endpoints: list[PlannedEndpoint], tasks: int, superseded: int, roles: list[PlannedRole]) -> Plan:
    """Endpoints work side by side: the slowest one ends the run."""
    busy = [each for each in endpoints if each.turns]
    slowest = max(busy, key=lambda each: each.seconds or 0.0, default=None)
    known = slowest is not None and all(each.seconds is not None for each in busy)
    firsts = [each.first_verdict for each in busy if each.first_verdict is not None]
    return Plan(
        tasks=tasks,
        superseded=superseded,
        seconds=slowest.seconds if known and slowest else None,
        low=slowest.low if known and slowest else None,
        high=slowest.high if known and slowest else None,
        first_verdict=min(firsts) if known and firsts else None,
        verdicts=None,
        roles=roles,
        endpoints=endpoints,
    )


def _endpoint(choice: Choice, answers: bool, castings: int, measured: Collection[str]) -> PlannedEndpoint:
    working, told = choice.working, choice.forecast
    casting = working.casting
    return PlannedEndpoint(
        endpoint=casting.name,
        backend=casting.settings.backend,
        answers=answers,
        models=tuple(sorted(casting.models)),
        holds=None if working.room is None else working.room.models,
        max_workers=working.in_flight,
        order=working.order,
        wave_size=working.wave_size,
        why=working.why,
        turns=sum(spell.turns for spell in choice.spells),
        loads=sum(bool(spell.load) for spell in choice.spells),
        exact=working.room is None or castings == 1,
        seconds=told.seconds if told else None,
        low=told.low if told else None,
        high=told.high if told else None,
        first_verdict=told.first_verdict if told else None,
        rests_on=_rests_on(choice, casting.name in measured),
    )


def _rests_on(choice: Choice, measured: bool) -> str:
    if not measured:
        return "nothing measured on this endpoint yet"
    turns, in_flight = choice.costs.turns, choice.costs.in_flight
    if choice.forecast is None:
        return f"not all of its turns and loads were measured with about {in_flight} in flight"
    more = "" if choice.sure else "; a run finds how many more it can have in flight, and may be much faster"
    return f"{turns:,} {'turn' if turns == 1 else 'turns'} with about {in_flight} in flight{more}"


def turns_left(workplace: Workplace, name: str | None) -> int:
    """Turns that the pending tasks still need, if nobody ends a debate early. Reads only."""
    debates = workplace.debates(name)
    with workplace.reading() as reading:
        waiting, _ = waiting_turns(reading, workplace.config.database, debates)
    return sum(turns.total() for turns in turns_by_role(waiting, orders(debates)).values())


def _speeds(known: Sequence[Seen]) -> dict[str, float]:
    """How fast endpoints are beside one another: measured, or by their weights while one of them is not."""
    if all(each.speed for each in known):
        return {each.casting.name: each.speed for each in known}
    return {each.casting.name: each.casting.settings.weight for each in known}


def _lengths(debates: Sequence[Debate], roles: Sequence[PlannedRole]) -> dict[tuple[Digest, Role], float]:
    """The lengths of turns to come, where earlier turns of the same debate tell them."""
    digests = {debate.name: debate.digest for debate in debates}
    return {
        (digests[role.debate], role.role): length(role.prompt_tokens / role.turns, role.reply_tokens / role.turns)
        for role in roles
        if role.measured
    }
