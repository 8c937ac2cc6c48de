"""What a judge's reply decides, and what a person should look at before believing it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from orchestrator.cast import Debate
from orchestrator.debate.replies import score_field
from orchestrator.domain import Flag, Mark, Role, Turn, Verdict

FALLBACKS = frozenset({Mark.FALLBACK_MODEL, Mark.FALLBACK_CONTEXT})


def verdict_of(debate: Debate, turns: Sequence[Turn]) -> Verdict | None:
    """The verdict of a debate whose last turn is the judge's, flagged if need be; None while nobody has judged."""
    if not turns or turns[-1].role is not Role.JUDGE:
        return None
    score = turns[-1].reply[score_field(Role.JUDGE)]
    suggested = [turn.reply[score_field(turn.role)] for turn in turns if turn.role is not Role.JUDGE]
    marks = [mark for turn in turns for mark in turn.marks]
    return replace(debate.verdict(score), flags=flags_of(score, suggested, marks))


def flags_of(score: int, suggested: Sequence[int], marks: Collection[Mark] = ()) -> tuple[Flag, ...]:
    """The flags of a score, given all that the debaters suggested, in any round, and the marks of all turns.

    A judge may have good reasons to leave their range, and a fallback may judge well, so the verdict stands.
    """
    outside = bool(suggested) and not min(suggested) <= score <= max(suggested)
    found = {Flag.OUTSIDE: outside, Flag.FALLBACK: not FALLBACKS.isdisjoint(marks)}
    return tuple(flag for flag, raised in found.items() if raised)
