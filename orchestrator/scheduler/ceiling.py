"""How many tasks of a run may fail until it is stopped, and what is said then."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import TooManyFailuresError
from orchestrator.scheduler.retry import ANSWERS
from orchestrator.scheduler.tally import Tally

LEAST_ENDED = 20  # tasks that have to have ended until a share of them means anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """At most so many failed tasks: a number of them, or a per cent of those that ended in this run."""

    number: int
    per_cent: bool

    def passed(self, failed: int, done: int) -> bool:
        """Whether more failed than that; a share is not believed before twenty tasks have ended."""
        if not self.per_cent:
            return failed > self.number
        ended = failed + done
        return ended >= LEAST_ENDED and 100 * failed > self.number * ended

    def __str__(self) -> str:
        return f"{self.number}%" if self.per_cent else str(self.number)


def ceiling_of(text: str) -> Ceiling | None:
    """The ceiling that the setting `max_failures` names, as `10` or `5%`; None for an empty one."""
    return Ceiling(number=int(text.removesuffix("%")), per_cent=text.endswith("%")) if text else None


def too_many(ceiling: Ceiling, tally: Tally) -> TooManyFailuresError:
    """What is said of a run that passed its ceiling: how many, mostly why, one example, what to do."""
    kind, count = tally.given_up.most_common(1)[0]
    ended = tally.failed + tally.done
    return TooManyFailuresError(
        f"more failed than --max-failures {ceiling} allows, after {tally.failed} of {ended}; {count} of them with "
        f"the class {kind.value}, as {tally.examples[kind]} (what to do: {ANSWERS[kind].mend})"
    )
