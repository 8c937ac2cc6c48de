"""What follows from a failed attempt: again or not, when, and at whose cost."""

import pytest

from orchestrator.errors import ErrorClass
from orchestrator.scheduler.retry import Decision, decide

GIVEN_UP = Decision(delay_s=None)


def again(delay_s: float) -> Decision:
    return Decision(delay_s=delay_s)


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        (ErrorClass.TRANSIENT, again(1.0), GIVEN_UP),
        (ErrorClass.LOST, again(1.0), GIVEN_UP),
        (ErrorClass.SHAPE, again(0.0), GIVEN_UP),
        (ErrorClass.REFUSAL, again(0.0), GIVEN_UP),
        (ErrorClass.OVERFLOW, GIVEN_UP, GIVEN_UP),
        (ErrorClass.DETERMINISTIC, GIVEN_UP, GIVEN_UP),
        (ErrorClass.CAPACITY, *[Decision(delay_s=5.0, counted=False, crowded=True)] * 2),
        (ErrorClass.CONFIGURATION, *[Decision(delay_s=0.0, counted=False, stop=True)] * 2),
        (ErrorClass.CANCELLED, *[Decision(delay_s=0.0, counted=False)] * 2),
    ],
)
def test_each_class_has_its_decision(kind: ErrorClass, first: Decision, last: Decision) -> None:
    assert decide(kind, 1, 5) == first
    assert decide(kind, 5, 5) == last


@pytest.mark.parametrize("kind", ErrorClass)
def test_no_counted_class_goes_on_forever(kind: ErrorClass) -> None:
    decision = decide(kind, 100, 100)

    assert decision.delay_s is None or not decision.counted


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (99, 60)])
def test_delay_doubles_up_to_a_minute(attempt: int, delay_s: float) -> None:
    assert decide(ErrorClass.TRANSIENT, attempt, 100) == again(delay_s)


@pytest.mark.parametrize("kind", [ErrorClass.SHAPE, ErrorClass.REFUSAL])
def test_unusable_reply_gets_three_attempts(kind: ErrorClass) -> None:
    assert decide(kind, 2, 5) == again(0.0)
    assert decide(kind, 3, 5) == GIVEN_UP


@pytest.mark.parametrize("kind", [ErrorClass.SHAPE, ErrorClass.REFUSAL, ErrorClass.TRANSIENT])
def test_lower_limit_of_attempts_holds(kind: ErrorClass) -> None:
    assert decide(kind, 1, 1) == GIVEN_UP


@pytest.mark.parametrize("attempt", [1, 5, 1000])
def test_silent_server_costs_no_attempt(attempt: int) -> None:
    decision = decide(ErrorClass.TRANSIENT, attempt, 5, down=True)

    assert decision == Decision(delay_s=1.0, counted=False, pause=True)


@pytest.mark.parametrize("kind", [ErrorClass.TRANSIENT, ErrorClass.CAPACITY])
def test_servers_own_delay_is_kept(kind: ErrorClass) -> None:
    assert decide(kind, 1, 5, retry_after_s=17).delay_s == 17
