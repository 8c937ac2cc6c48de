"""Times as people give and read them, and the line that says how a run kept to what was said of it."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.app.looking import Comparison
from orchestrator.app.setup import settings_text
from orchestrator.cli.comparing import compared
from orchestrator.cli.format import clock_time, counted, duration, interval
from orchestrator.cli.moments import moment
from orchestrator.domain import RunId, RunStatus
from orchestrator.measures import Prediction
from orchestrator.store.reading_rows import Actual

EVENING = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # 22:00 in Berlin, in the night that the clocks go back


@pytest.fixture(autouse=True)
def _in_berlin() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def comparison(
    endpoint: str = "",
    *,
    said: float | None = 7800.0,
    made: float | None = 8040.0,
    status: RunStatus = RunStatus.DONE,
) -> Comparison:
    predicted = Prediction(
        endpoint=endpoint, turns=5292, loads=57, seconds=said, low=said, high=said, first_verdict=None
    )
    actual = Actual(endpoint=endpoint, turns=5290, loads=1, seconds=made)
    return Comparison(run_id=RunId(1), status=status, endpoint=endpoint, predicted=predicted, actual=actual)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:30", datetime(2026, 10, 24, 20, 30, tzinfo=UTC)),
        ("22:00", datetime(2026, 10, 25, 21, 0, tzinfo=UTC)),
        ("7:30", datetime(2026, 10, 25, 6, 30, tzinfo=UTC)),
        (" 07:30 ", datetime(2026, 10, 25, 6, 30, tzinfo=UTC)),
        ("2026-10-25T07:30", datetime(2026, 10, 25, 6, 30, tzinfo=UTC)),
        ("2026-10-26", datetime(2026, 10, 25, 23, 0, tzinfo=UTC)),
        ("2026-10-25T07:30:00Z", datetime(2026, 10, 25, 7, 30, tzinfo=UTC)),
        ("2026-10-25T07:30+05:00", datetime(2026, 10, 25, 2, 30, tzinfo=UTC)),
    ],
)
def test_times_are_those_of_this_place(text: str, expected: datetime) -> None:
    assert moment(text, EVENING) == expected


@pytest.mark.parametrize("text", ["", "soon", "24:00", "07:60", "7", "0730h", "07:30:00", "2026-13-01", "99999-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: give one as 07:30 or as 2026-11-22T07:30"):
        moment(text, EVENING)


@pytest.mark.parametrize("text", ["2026-10-24T22:00", "2020-01-01", "2026-10-24T19:59:59Z"])
def test_moment_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is over already"):
        moment(text, EVENING)


@pytest.mark.parametrize(
    ("after_h", "expected"), [(0.5, "22:30"), (11, "08:00"), (23.9, "20:54"), (25, "2026-10-25 22:00")]
)
def test_date_is_said_where_it_matters(after_h: float, expected: str) -> None:
    assert clock_time(EVENING + timedelta(hours=after_h), EVENING) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (4.24, "4.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (310, "5 min 10 s"),
        (7200, "2 h"),
        (7800, "2 h 10 min"),
        (7859.9, "2 h 11 min"),
        (180_000, "50 h"),
    ],
)
def test_durations_use_what_matters(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_interval_stands_behind_its_time() -> None:
    assert interval(7800, 7080, 8520) == "2 h 10 min (1 h 58 min to 2 h 22 min)"
    assert interval(7800, None, None) == "2 h 10 min"


def test_one_thing_is_no_plural() -> None:
    assert [counted(count, "load") for count in (0, 1, 1204)] == ["0 loads", "1 load", "1,204 loads"]


def test_run_is_held_against_prediction() -> None:
    lines = list(compared([comparison()]))

    assert lines == ["predicted 5,292 turns, 57 loads, 2 h 10 min; actual 5,290 turns, 1 load, 2 h 14 min (+3 %)"]


@pytest.mark.parametrize(
    ("said", "made", "status", "ends"),
    [
        (None, 60.0, RunStatus.DONE, "time unknown; actual 5,290 turns, 1 load, 1 min"),
        (120.0, None, RunStatus.RUNNING, "2 min; actual 5,290 turns, 1 load, so far"),
        (120.0, 60.0, RunStatus.DONE, "2 min; actual 5,290 turns, 1 load, 1 min (-50 %)"),
        (0.2, 0.9, RunStatus.DONE, "0.2 s; actual 5,290 turns, 1 load, 0.9 s"),
    ],
)
def test_percent_only_where_it_says_something(
    said: float | None, made: float | None, status: RunStatus, ends: str
) -> None:
    (line,) = compared([comparison(said=said, made=made, status=status)])

    assert line == f"predicted 5,292 turns, 57 loads, {ends}"


DONE = "done 5,290 of 5,292 turns, 1 of 57 loads"


@pytest.mark.parametrize(
    ("said", "made", "status", "line"),
    [
        (7800.0, 60.0, RunStatus.INTERRUPTED, f"(interrupted) after 1 min: {DONE}; the whole was predicted to take"),
        (7800.0, 60.0, RunStatus.FAILED, f"(failed) after 1 min: {DONE}; the whole was predicted to take"),
        (7800.0, 99999.0, RunStatus.LOST, f"(lost): {DONE}; the whole was predicted to take"),
        (7800.0, None, RunStatus.LOST, f"(lost): {DONE}; the whole was predicted to take"),
        (None, 60.0, RunStatus.INTERRUPTED, f"(interrupted) after 1 min: {DONE}"),
    ],
)
def test_run_that_ended_early_missed_nothing(
    said: float | None, made: float | None, status: RunStatus, line: str
) -> None:
    (shown,) = compared([comparison(said=said, made=made, status=status)])

    assert shown == f"ended early {line}{' 2 h 10 min' if said else ''}"


def test_parts_of_early_end_say_how_far() -> None:
    cut = [comparison(name, status=RunStatus.INTERRUPTED) for name in ("", "left", "right")]

    assert list(compared(cut))[1:] == [f"  left: {DONE}", f"  right: {DONE}"]


def test_endpoints_are_compared_if_several() -> None:
    whole, left, right = comparison(), comparison("left"), comparison("right", said=None)

    assert len(list(compared([whole, left]))) == 1
    assert len(list(compared([whole, left, right], endpoints=False))) == 1
    assert list(compared([whole, left, right]))[1:] == [
        "  left: predicted 5,292 turns, 57 loads, 2 h 10 min; actual 5,290 turns, 1 load",
        "  right: predicted 5,292 turns, 57 loads, time unknown; actual 5,290 turns, 1 load",
    ]


def test_written_examples_leave_workers_to_runs() -> None:
    text = settings_text().split("#[endpoints", 1)[1]
    endpoints = tomllib.loads(re.sub(r"(?m)^#", "", f"#[endpoints{text}"))["endpoints"]

    assert (endpoints["vllm"]["max_workers"], endpoints["ollama"]["slots"]) == ("auto", 1)
    assert "OLLAMA_NUM_PARALLEL" in text
    assert '#max_workers = "auto"' in settings_text()


def test_nothing_said_means_no_line() -> None:
    assert not list(compared([]))
