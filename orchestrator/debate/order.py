"""Who speaks next, as a pure function of what has been said."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.cast import Debate
from orchestrator.domain import Role, Step, Turn


def next_step(debate: Debate, turns: Sequence[Turn]) -> Step | None:
    """The first step not spoken yet, or None after the judge.

    Advocate and critic alternate for `rounds` rounds, then the judge speaks. An actor with nothing to contest
    hands over to the judge at once, where the debate allows it.
    """
    if not turns:
        return debate.first
    last = turns[-1]
    if last.role is Role.JUDGE:
        return None
    if debate.protocol.early_end and last.reply.get("nothing_to_contest") is True:
        return debate.step(Role.JUDGE, 1)
    if last.role is Role.ADVOCATE:
        return debate.step(Role.CRITIC, last.round)
    if last.round < debate.protocol.rounds:
        return debate.step(Role.ADVOCATE, last.round + 1)
    return debate.step(Role.JUDGE, 1)


def steps(debate: Debate) -> list[Step]:
    """Every step of a debate that nobody ends early, in order of speaking."""
    rounds = range(1, debate.protocol.rounds + 1)
    debaters = [debate.step(role, number) for number in rounds for role in (Role.ADVOCATE, Role.CRITIC)]
    return [*debaters, debate.step(Role.JUDGE, 1)]
