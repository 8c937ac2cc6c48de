"""Numbers that nobody can reckon with are read as none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.heard import heard
from orchestrator.backends.numbers import gib, requests, seconds, tokens, wait_s
from orchestrator.backends.wire import Answer
from orchestrator.domain import Backend

NANO = 1e-9
HUGE = 10**400
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, -1, -0.5, HUGE, -HUGE, True, "7", None, [7], {"a": 7}]
# As JSON brings them.
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from(NO_NUMBERS))


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:9])
def test_no_number_is_read_as_none(value: Any) -> None:
    assert seconds(value, NANO) is None
    assert seconds(value, 1e-3) is None
    assert tokens(value) is None
    assert gib(value) is None


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [(0, NANO, 0.0), (1_500_000_000, NANO, 1.5), (12.5, 1e-3, 0.0125), (604_800, 1.0, 604_800)],
)
def test_durations_are_read_in_their_unit(value: float, unit: float, read: float) -> None:
    assert seconds(value, unit) == pytest.approx(read)


def test_nothing_takes_more_than_a_week() -> None:
    assert seconds(604_801, 1.0) is None


def test_counts_are_whole_numbers() -> None:
    assert [tokens(value) for value in (0, 7, 2**31 - 1, 2**31, 7.0)] == [0, 7, 2**31 - 1, None, None]


def test_sizes_are_read_in_gib() -> None:
    assert [gib(value) for value in (2**30, 3 * 2**29, 0, 2**50)] == [1.0, 1.5, None, None]


@given(NUMBERS)
def test_whatever_is_read_can_be_stored(value: Any) -> None:
    for read in (seconds(value, NANO), seconds(value, 1e-3), tokens(value), gib(value)):
        assert read is None or 0 <= read < 2**31
        json.dumps(read, allow_nan=False)


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "-1", "1e400", "9" * 400, "many", ""])
def test_no_number_of_requests_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        requests(text)


def test_requests_are_read_as_metrics_write_them() -> None:
    assert [requests(text) for text in ("0", "3.0", "1.2e+01")] == [0.0, 3.0, 12.0]


@pytest.mark.parametrize("zone", ["+99999999999999999", "-99999999999999999", "+2400", "nowhere"])
def test_time_zone_of_no_place_asks_for_nothing_odd(zone: str) -> None:
    told = wait_s(f"Thu, 01 Jan 2026 00:00:00 {zone}", "Thu, 01 Jan 2026 00:00:00 GMT")

    assert told is None or 0 <= told <= 3600


@pytest.mark.parametrize("odd", [math.nan, math.inf, -(10**18), pytest.param(HUGE, id="huge")])
def test_odd_times_of_an_answer_are_left_out(odd: float) -> None:
    names = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
    answer = Answer(status=200, json=dict.fromkeys(names, odd), excerpt="", retry_after_s=None)

    read = heard(answer, Backend.OLLAMA)

    assert (read.prompt_s, read.waited_s, read.worked_s) == (None, None, None)
