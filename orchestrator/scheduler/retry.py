"""What a failed attempt means, as one table and a pure function of it: again or not, when, and at whose cost.

Waits are spread by chance over all of the time up to their limit ("full jitter"), because turns that failed together
would otherwise come back together. The caller draws the chance, so that the same draws give the same waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import ErrorClass, Guard

_LONGEST_DELAY_S = 60.0
# A judge was asked about its contradiction within the attempt; another one would be fishing for the answer that agrees.
_FINAL = frozenset({Guard.CONTRADICTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is done about one class of failed attempts.

    Attributes:
        most: failed attempts at one turn until its task is given up, however many the settings allow; None for those.
        first_s: seconds that the first wait lasts at most; each further one at most twice as long.
        counted: whether an attempt counts against the task.
        twice: the same error twice for the same turn gives the task up: the third call would fail as well.
        crowded: the endpoint had no room: send fewer at a time.
        stop: nothing works until somebody mends it: end the run.
        happens: what that comes to, for people.
        mend: what they can do about it.
    """

    most: int | None = None
    first_s: float = 0.0
    counted: bool = True
    twice: bool = False
    crowded: bool = False
    stop: bool = False
    happens: str
    mend: str

    def gives_up(self, attempt: int, max_attempts: int, *, again: bool) -> bool:
        """Whether attempt number `attempt` was the last; `again` says that another would fail in the same way."""
        last = attempt >= min(max_attempts, self.most or max_attempts)
        return self.counted and (last or (again and self.twice))


ANSWERS: Mapping[ErrorClass, Answer] = {
    ErrorClass.TRANSIENT: Answer(
        first_s=1.0,
        twice=True,
        happens="tried again after a while; where the endpoint is at fault it is paused, asked again less and less "
        "often, and no attempt counts; no task fails before something else went well there",
        mend="look at the server's log; if one record does it again and again, look at the record",
    ),
    ErrorClass.CAPACITY: Answer(
        first_s=5.0,
        counted=False,
        crowded=True,
        happens="fewer turns are sent at a time; then the card's smaller context or fallback model, if it names one; "
        "then the endpoint is paused until there is room",
        mend="nothing has to be done; to go faster give the server more memory, or the card a smaller context or "
        "a fallback_model",
    ),
    ErrorClass.OVERFLOW: Answer(
        most=1,
        happens="the task fails at once: the same prompt would not fit again",
        mend="raise context or reply_limit in the card, or shorten the record; then orchestrate retry --class overflow",
    ),
    ErrorClass.SHAPE: Answer(
        most=3,
        twice=True,
        happens="tried again at once; the same error twice, or three in all, and the task fails; a judge that "
        "contradicts itself was asked about it within the attempt, and its task fails at once",
        mend="mend the prompt, or take a model that keeps to the form; then orchestrate retry --class shape",
    ),
    ErrorClass.REFUSAL: Answer(
        most=3,
        twice=True,
        happens="tried again at once; the same error twice, or three in all, and the task fails",
        mend="mend the prompt, or leave these records out; then orchestrate retry --class refusal",
    ),
    ErrorClass.DETERMINISTIC: Answer(
        most=1,
        happens="the task fails at once: the same call would fail again",
        mend="mend what the message names: an option in the card, record.md, or the record; then orchestrate retry "
        "--class deterministic",
    ),
    ErrorClass.CONFIGURATION: Answer(
        counted=False,
        stop=True,
        happens="the run ends and says why; the task waits for the next run",
        mend="mend orchestrate.toml or the card, let orchestrate doctor check it, and give the same command again",
    ),
    ErrorClass.LOST: Answer(
        happens="put back at once, and given up after as many attempts as the settings allow",
        mend="find out what killed the run: the system's log, memory; then orchestrate retry --class lost",
    ),
    ErrorClass.CANCELLED: Answer(
        counted=False,
        happens="nothing, until somebody puts it back",
        mend="orchestrate retry --class cancelled puts it back",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a failed attempt.

    Attributes:
        delay_s: seconds until the task may be claimed again; None gives it up.
        counted: whether the attempt counts against the task.
        pause_s: the endpoint is at fault, or asked for it: send nothing for so long, and then only once it answers;
            None goes on.
        crowded: the endpoint had no room for it: send fewer at a time.
        stop: nothing works until somebody mends it: end the run.
    """

    delay_s: float | None
    counted: bool = True
    pause_s: float | None = None
    crowded: bool = False
    stop: bool = False


def decide(
    kind: ErrorClass,
    attempt: int,
    max_attempts: int,
    *,
    guard: Guard | None = None,
    down: bool = False,
    again: bool = False,
    worked: bool = True,
    doubtful: bool = False,
    crowded: bool = True,
    retry_after_s: float | None = None,
    chance: float = 1.0,
) -> Decision:
    """What to do after attempt number `attempt` (from 1) failed with an error of class `kind`.

    `guard` is the check that refused the reply, if one did; `down` says that the endpoint is at fault: nothing answered
    at all, or several tasks failed in a row and nothing went well between; `again` that the same turn failed with the
    same error before; `worked` that the endpoint did something well since this task failed first, without which it is
    not given up; `doubtful` that it did nothing well since this task failed last, so that it is to be asked whose fault
    it is; `retry_after_s` is the server's own wish, an hour at most, and waited to its end; `crowded` whether fewer
    turns at a time would help one that found no room; `chance`, from 0 to 1, is what is waited of the longest wait.
    """
    answer = ANSWERS[kind]
    if kind is ErrorClass.TRANSIENT and down:
        return Decision(delay_s=chance * answer.first_s, counted=False, pause_s=retry_after_s or 0.0)
    if answer.gives_up(attempt, max_attempts, again=again or guard in _FINAL):
        if worked:
            return Decision(delay_s=None)
        return Decision(delay_s=chance * answer.first_s, counted=False, pause_s=0.0 if doubtful else None)
    if answer.crowded and not crowded:
        return Decision(delay_s=chance * _LONGEST_DELAY_S, counted=False)
    wished_s = retry_after_s if answer.first_s else None
    return Decision(
        delay_s=chance * backoff_s(answer, attempt) if wished_s is None else wished_s + chance * answer.first_s,
        counted=answer.counted,
        pause_s=wished_s if answer.crowded else None,
        crowded=answer.crowded,
        stop=answer.stop,
    )


def backoff_s(answer: Answer, attempt: int) -> float:
    """The longest wait, in seconds, after attempt number `attempt` (from 1): doubled each time, a minute at most."""
    # Bounded before it is raised: no attempt number makes a float too large.
    return min(_LONGEST_DELAY_S, answer.first_s * 2.0 ** min(attempt - 1, 16))
