"""What a run would do, said beforehand: turns, loads, tokens and time, and what the figures rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.app.casting import Casting, cast_models
from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.messages import Script
from orchestrator.domain import JobDraft, Role, Step, TaskStatus
from orchestrator.scheduler.plan import fewest_loads
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import RoleCount, TokenMeans

_SAMPLE = 50
_CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRole:
    """The turns of one role that a run would speak.

    `prompt_tokens` and `reply_tokens` are sums; `seconds` is the sum over turns, None where nothing was measured yet.
    """

    debate: str
    role: Role
    model: str
    endpoint: str
    turns: int
    prompt_tokens: int
    reply_tokens: int
    seconds: float | None
    rests_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEndpoint:
    """One endpoint's share of a run. `seconds` is with `max_workers` turns in flight; None for unknown."""

    endpoint: str
    backend: str
    models: tuple[str, ...]
    holds: int | None  # models at once; None for all
    max_workers: int
    turns: int
    loads: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do now.

    `superseded` are pending tasks of older digests, which a run replaces by tasks of the present one.
    """

    tasks: int
    superseded: int
    roles: list[PlannedRole]
    endpoints: list[PlannedEndpoint]


def plan(workplace: Workplace, name: str | None) -> Plan:
    """What `process-pending` would do. Reads only; calls no model.

    Raises:
        CastError, ConfigError: what a run would stop at, too.
    """
    debates = workplace.debates(name)
    castings = cast_models(workplace.config, debates)
    with workplace.reading() as reading:
        counts = [count for count in reading.counts() if count.status is TaskStatus.PENDING]
        present = {debate.digest for debate in debates}
        named = {debate.name for debate in debates}
        old = sum(count.count for count in counts if count.debate in named and count.digest not in present)
        roles = [role for debate in debates for role in _roles(reading, debate, castings)]
        tasks = sum(count.count for count in counts if count.debate in named)
    endpoints = [_endpoint(workplace, casting, debates, roles) for casting in castings]
    return Plan(tasks=tasks, superseded=old, roles=roles, endpoints=endpoints)


def turns_left(workplace: Workplace, name: str | None) -> int:
    """Turns that the pending tasks still need, if nobody ends a debate early. Reads only."""
    debates = workplace.debates(name)
    with workplace.reading() as reading:
        waiting = reading.waiting_roles()
    return sum(_turns(debate, waiting).total() for debate in debates)


def _roles(reading: Reading, debate: Debate, castings: Sequence[Casting]) -> Iterable[PlannedRole]:
    means = {(mean.role, mean.model): mean for mean in reading.tokens(debate.name)}
    turns = _turns(debate, reading.waiting_roles())
    sample = reading.pending(debate.name, _SAMPLE)
    for role in Role:
        if turns[role]:
            yield _role(debate, role, turns[role], means.get((role, debate.actor(role).model)), sample, castings)


def _turns(debate: Debate, waiting: Sequence[RoleCount]) -> Counter[Role]:
    """Turns that the pending tasks still need, if nobody ends a debate early."""
    order = _order(debate)
    needed: Counter[Role] = Counter()
    for count in waiting:
        if count.debate == debate.name:
            # A task of an older digest starts again from its first turn.
            begun = (count.role, count.round) if count.digest == debate.digest else (order[0].role, 1)
            at = next((place for place, step in enumerate(order) if (step.role, step.round) == begun), 0)
            needed.update({role: count.count * sum(step.role is role for step in order[at:]) for role in Role})
    return needed


def _order(debate: Debate) -> list[Step]:
    rounds = range(1, debate.protocol.rounds + 1)
    debaters = [debate.step(role, number) for number in rounds for role in (Role.ADVOCATE, Role.CRITIC)]
    return [*debaters, debate.step(Role.JUDGE, 1)]


def _role(
    debate: Debate,
    role: Role,
    turns: int,
    mean: TokenMeans | None,
    sample: Sequence[JobDraft],
    castings: Sequence[Casting],
) -> PlannedRole:
    actor = debate.actor(role)
    if mean is not None and mean.prompt_tokens is not None and mean.reply_tokens is not None:
        prompt, reply, basis = mean.prompt_tokens, mean.reply_tokens, f"the means of {mean.turns} earlier turns"
    else:
        prompt, reply = _guess(debate, role, sample), actor.sampling.reply_limit / 2
        basis = f"{len(sample)} prompts rendered, four characters a token, replies half of their limit"
    return PlannedRole(
        debate=debate.name,
        role=role,
        model=actor.model,
        endpoint=next(casting.name for casting in castings if actor.model in casting.models),
        turns=turns,
        prompt_tokens=round(turns * prompt),
        reply_tokens=round(turns * reply),
        seconds=None if mean is None else turns * mean.seconds,
        rests_on=basis,
    )


def _guess(debate: Debate, role: Role, sample: Sequence[JobDraft]) -> float:
    """Mean prompt tokens of a role, from rendered prompts and the replies that stand in them."""
    before = next(place for place, step in enumerate(_order(debate)) if step.role is role)
    replies = before * debate.actor(role).sampling.reply_limit / 2
    prompts = [Script(debate, draft.payload).messages(debate.step(role, 1), ()) for draft in sample]
    characters = sum(len(message.content) for messages in prompts for message in messages)
    return characters / _CHARACTERS_A_TOKEN / max(1, len(prompts)) + replies


def _endpoint(
    workplace: Workplace, casting: Casting, debates: Sequence[Debate], roles: Sequence[PlannedRole]
) -> PlannedEndpoint:
    mine = [role for role in roles if role.endpoint == casting.name]
    holds = casting.settings.holds_at_once()
    workers = casting.settings.max_workers or workplace.config.settings.max_workers
    waiting = {role.debate for role in mine}
    chains = [
        [step.model for step in _order(debate) if step.model in casting.models]
        for debate in debates
        if debate.name in waiting
    ]
    seconds = [role.seconds for role in mine]
    known = [second for second in seconds if second is not None]
    return PlannedEndpoint(
        endpoint=casting.name,
        backend=casting.settings.backend,
        models=tuple(sorted(casting.models)),
        holds=holds,
        max_workers=workers,
        turns=sum(role.turns for role in mine),
        loads=fewest_loads(chains, holds),
        seconds=sum(known) / workers if len(known) == len(seconds) else None,
    )
