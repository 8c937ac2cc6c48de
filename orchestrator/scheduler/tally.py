"""What a run has done so far, for whoever watches it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.domain import Claim, Flag, Mark, Swap, Turn, Verdict
from orchestrator.errors import ErrorClass, Guard

_MOST_NOTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """An endpoint that nothing is sent to, since when, and why; `until` is how long it asked to be left alone."""

    since: datetime
    why: str
    until: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of one run. Written by its lanes, read by its display; nothing is decided by it."""

    started_at: datetime
    turns: int = 0
    asked_again: int = 0
    done: int = 0
    failed: int = 0  # tasks given up
    lost: int = 0  # turns refused because their lease had gone
    swaps: int = 0  # loads, unexpected ones included
    rescued: int = 0
    superseded: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    quotes: int = 0
    quotes_verified: int = 0
    reloads: Counter[str] = field(default_factory=Counter)  # unexpected loads by model: nobody here asked for them
    reload_s: float = 0.0  # what they took together
    failures: Counter[ErrorClass] = field(default_factory=Counter)  # failed attempts by class
    guards: Counter[Guard] = field(default_factory=Counter)  # those whose reply a check refused, by check
    marks: Counter[Mark] = field(default_factory=Counter)  # turns with something to know of how they came about
    flags: Counter[Flag] = field(default_factory=Counter)  # verdicts to look at
    given_up: Counter[ErrorClass] = field(default_factory=Counter)  # tasks given up, by class of their last error
    examples: dict[ErrorClass, str] = field(default_factory=dict)  # of each class one failure: its record and error
    labels: Counter[str] = field(default_factory=Counter)
    loaded: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by endpoint
    in_flight: dict[str, int] = field(default_factory=dict)  # by endpoint
    limits: dict[str, int] = field(default_factory=dict)  # by endpoint: turns that may be in flight now
    paused: dict[str, Pause] = field(default_factory=dict)  # by endpoint
    squeezed: Counter[str] = field(default_factory=Counter)  # by endpoint: how often fewer were sent for want of room
    warnings: list[str] = field(default_factory=list)  # what somebody should know of this run
    notes: list[str] = field(default_factory=list)  # the newest, one line each, oldest first
    forgotten: int = 0  # older notes that are no longer kept

    def spoke(self, turn: Turn, verdict: Verdict | None) -> None:
        """Count a turn that is on disk, and the verdict that came with it."""
        self.turns += 1
        self.asked_again += turn.asks - 1
        self.prompt_tokens += turn.usage.prompt_tokens or 0
        self.reply_tokens += turn.usage.reply_tokens or 0
        self.quotes += len(turn.quotes)
        self.quotes_verified += sum(quote.verified for quote in turn.quotes)
        self.marks.update(turn.marks)
        if verdict is not None:
            self.done += 1
            self.flags.update(verdict.flags)
            self.labels[verdict.label] += 1

    def failed_attempt(
        self, claim: Claim, kind: ErrorClass, error: str, given_up: bool, guard: Guard | None = None
    ) -> None:
        """Count a failed attempt, and the check that refused its reply; note the tasks that were given up."""
        self.failures[kind] += 1
        if guard is not None:
            self.guards[guard] += 1
        if given_up or kind not in self.examples:
            self.examples[kind] = f"{claim.key}: {error}"
        if given_up:
            self.failed += 1
            self.given_up[kind] += 1
            self.note(f"{claim.key} failed ({kind.value}): {error}")

    def pauses(self) -> str:
        """Which endpoints are paused, since when and why, in one line; empty if none is."""
        return "; ".join(
            f"{endpoint} paused since {pause.since:%Y-%m-%d %H:%M:%S} UTC{_asked(pause)}: {pause.why}"
            for endpoint, pause in self.paused.items()
        )

    def swapped(self, swap: Swap) -> None:
        """Count a load, and note it."""
        self.swaps += 1
        gone = f"{', '.join(swap.unloaded)} → " if swap.unloaded else ""
        self.note(f"{swap.endpoint}: {gone}{swap.loaded} in {swap.seconds:.1f} s")

    def reloaded(self, swap: Swap) -> None:
        """Count a load that a turn had to wait for although its model was loaded, and note it."""
        self.swaps += 1
        self.reloads[swap.loaded] += 1
        self.reload_s += swap.seconds
        self.note(f"{swap.endpoint}: {swap.loaded} was loaded again unasked, {swap.seconds:.1f} s")

    def warn(self, texts: Sequence[str]) -> None:
        """Keep what somebody should know of this run, and note it."""
        self.warnings += texts
        for text in texts:
            self.note(text)

    def note(self, text: str) -> None:
        """Keep a line for the display; a night of failures must not fill the memory with them."""
        self.notes.append(text)
        if len(self.notes) > _MOST_NOTES:
            self.forgotten += _MOST_NOTES // 2
            del self.notes[: _MOST_NOTES // 2]


def _asked(pause: Pause) -> str:
    return f", left alone until {pause.until:%Y-%m-%d %H:%M:%S} UTC as it asked" if pause.until else ""
