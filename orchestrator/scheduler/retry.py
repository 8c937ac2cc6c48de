"""What a failed attempt means, as a pure function: again or not, when, and at whose cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from orchestrator.errors import ErrorClass

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 60.0
_CAPACITY_DELAY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a failed attempt.

    Attributes:
        delay_s: seconds until the task may be claimed again; None gives it up.
        counted: whether the attempt counts against the task.
        pause: the endpoint is at fault: stop sending until it answers again.
        crowded: the endpoint had no room for it: send fewer at a time.
        stop: nothing works until somebody mends it: end the run.
    """

    delay_s: float | None
    counted: bool = True
    pause: bool = False
    crowded: bool = False
    stop: bool = False


def decide(
    kind: ErrorClass, attempt: int, max_attempts: int, *, down: bool = False, retry_after_s: float | None = None
) -> Decision:
    """What to do after attempt number `attempt` (from 1) failed with an error of class `kind`.

    `down` says that the endpoint is at fault: nothing answered at all, or several tasks failed in a row and nothing
    went well between; `retry_after_s` is the server's own wish.
    """
    match kind:
        case ErrorClass.CONFIGURATION:
            return Decision(delay_s=0.0, counted=False, stop=True)
        case ErrorClass.CANCELLED:
            return Decision(delay_s=0.0, counted=False)
        case ErrorClass.CAPACITY:
            return Decision(delay_s=retry_after_s or _CAPACITY_DELAY_S, counted=False, crowded=True)
        case ErrorClass.TRANSIENT if down:
            return Decision(delay_s=_FIRST_DELAY_S, counted=False, pause=True)
        case ErrorClass.TRANSIENT | ErrorClass.LOST:
            return _again(attempt, max_attempts, retry_after_s or _backoff(attempt))
        case ErrorClass.SHAPE | ErrorClass.REFUSAL:
            return _again(attempt, min(max_attempts, 3), 0.0)
        case ErrorClass.OVERFLOW | ErrorClass.DETERMINISTIC:
            return Decision(delay_s=None)
        case _:
            assert_never(kind)


def _again(attempt: int, limit: int, delay_s: float) -> Decision:
    return Decision(delay_s=delay_s if attempt < limit else None)


def _backoff(attempt: int) -> float:
    return float(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** (attempt - 1)))
