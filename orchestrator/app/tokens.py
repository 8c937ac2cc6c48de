"""The tokens that the turns to come will take: from the means of earlier turns, else from rendered prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.app.casting import Casting
from orchestrator.cast import Debate
from orchestrator.debate.messages import Script
from orchestrator.debate.order import steps
from orchestrator.domain import Digest, JobDraft, Role, Step, Waiting
from orchestrator.errors import DeterministicError
from orchestrator.ports import Message
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import TokenMeans

_SAMPLE = 50
CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRole:
    """The turns of one role that a run would speak; tokens are sums, `measured` if from turns of this very debate."""

    debate: str
    role: Role
    model: str
    endpoint: str
    turns: int
    prompt_tokens: int
    reply_tokens: int
    measured: bool
    rests_on: str


def turns_by_role(waiting: Iterable[Waiting], orders: Mapping[Digest, Sequence[Step]]) -> dict[Digest, Counter[Role]]:
    """Turns that pending tasks still need, if nobody ends a debate early."""
    needed: dict[Digest, Counter[Role]] = {digest: Counter() for digest in orders}
    for each in waiting:
        order = orders[each.digest]
        rest = Counter(step.role for step in order[order.index(each.step) :])
        needed[each.digest].update({role: count * (each.ready + each.later) for role, count in rest.items()})
    return needed


def planned_roles(
    reading: Reading, debates: Sequence[Debate], turns: Mapping[Digest, Counter[Role]], castings: Sequence[Casting]
) -> list[PlannedRole]:
    """The tokens of every role that has turns to come on these endpoints."""
    planned = []
    for debate in debates:
        means = {(mean.role, mean.model): mean for mean in reading.tokens(debate.name)}
        sample = reading.pending(debate.name, _SAMPLE)
        for role in Role:
            model = debate.actor(role).model
            serving = ", ".join(casting.name for casting in castings if model in casting.models)
            if serving and (count := turns[debate.digest][role]):
                planned.append(_role(debate, role, count, means.get((role, model)), sample, serving))
    return planned


def _role(
    debate: Debate,
    role: Role,
    turns: int,
    mean: TokenMeans | None,
    sample: Sequence[JobDraft],
    serving: str,
) -> PlannedRole:
    actor = debate.actor(role)
    measured = mean is not None and mean.prompt_tokens is not None and mean.reply_tokens is not None
    if mean is not None and mean.prompt_tokens is not None and mean.reply_tokens is not None:
        prompt, reply, basis = mean.prompt_tokens, mean.reply_tokens, f"the means of earlier turns: {mean.turns:,}"
    else:
        prompt, reply = _guess(debate, role, sample), actor.sampling.reply_limit / 2
        basis = f"prompts rendered: {len(sample)}, four characters a token, replies half of their limit"
    return PlannedRole(
        debate=debate.name,
        role=role,
        model=actor.model,
        endpoint=serving,
        turns=turns,
        prompt_tokens=round(turns * prompt),
        reply_tokens=round(turns * reply),
        measured=measured,
        rests_on=basis,
    )


def _guess(debate: Debate, role: Role, sample: Sequence[JobDraft]) -> float:
    """Mean prompt tokens of a role, from rendered prompts and the replies that stand in them."""
    before = next(place for place, step in enumerate(steps(debate)) if step.role is role)
    replies = before * debate.actor(role).sampling.reply_limit / 2
    prompts = list(_prompts(debate, role, sample))
    characters = sum(len(message.content) for messages in prompts for message in messages)
    return characters / CHARACTERS_A_TOKEN / max(1, len(prompts)) + replies


def _prompts(debate: Debate, role: Role, sample: Sequence[JobDraft]) -> Iterator[tuple[Message, ...]]:
    for draft in sample:
        # A record that does not fit its template fails when its turn comes; the run is not to end for it.
        with suppress(DeterministicError):
            yield Script(debate, draft.payload).messages(debate.step(role, 1), ())
