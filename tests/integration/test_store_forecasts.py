"""What a reader learns about what waits, how long turns took, and how a run kept to what was said of it."""

from __future__ import annotations

from orchestrator.domain import RunId, RunStatus, Swap
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import Actual, MeasuredTurns, StepCount
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import (
    DIGEST,
    ENDPOINT,
    FIRST,
    OTHER,
    SECOND,
    at,
    begin,
    claim_one,
    drafts,
    finish,
    load_rate,
    prediction,
    spoken,
    submission,
    turn_rate,
)

ELSEWHERE = "http://127.0.0.1:11435"


def test_steps_wait_by_debate_and_home(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c", "d"), at(0))
    store.submit(submission(debate="salaries", digest=OTHER, priority=3), drafts("a"), at(0))
    run_id = begin(store)
    finish(store, run_id)
    store.record(spoken(claim_one(store, run_id), home=ENDPOINT), at(3))

    found = reading.waiting_steps()

    first = StepCount(debate="jobs", digest=DIGEST, step=FIRST, fresh=True, priority=0, home="", count=2)
    second = StepCount(debate="jobs", digest=DIGEST, step=SECOND, fresh=False, priority=0, home=ENDPOINT, count=1)
    third = StepCount(debate="salaries", digest=OTHER, step=FIRST, fresh=True, priority=3, home="", count=1)
    assert found == [first, second, third]


def test_residents_say_what_is_loaded(store: SqlTaskStore, reading: Reading) -> None:
    assert reading.residents() == {}
    run_id = begin(store)
    version = store.begin_swap(run_id, store.resident(ENDPOINT, at(0)), at(30), at(0))
    store.end_swap(run_id, version or 0, ["qwen", "gemma"], None, ENDPOINT)
    store.begin_swap(run_id, store.resident(ELSEWHERE, at(0)), at(30), at(0))

    assert reading.residents() == {ENDPOINT: ("qwen", "gemma"), ELSEWHERE: ()}


def test_rates_are_of_the_newest_runs(store: SqlTaskStore, reading: Reading) -> None:
    for number in range(4):
        run_id = begin(store)
        store.keep_rates(run_id, [turn_rate(turns=number + 1)], [load_rate(loads=number + 1)], at(number))

    turns, loads = reading.rates(runs=2)

    assert [(row.run_id, row.at, row.rate.turns) for row in turns] == [(4, at(3), 4), (3, at(2), 3)]
    assert [(row.run_id, row.at, row.rate.loads) for row in loads] == [(4, at(3), 4), (3, at(2), 3)]
    assert len(reading.rates()[0]) == 4


def test_each_model_keeps_its_newest_rates(store: SqlTaskStore, reading: Reading) -> None:
    old = turn_rate(model="gemma")
    store.keep_rates(begin(store), [old, turn_rate(), turn_rate(endpoint=ELSEWHERE)], [], at(0))
    store.keep_rates(None, [turn_rate(in_flight=1), turn_rate(in_flight=8)], [], at(5))

    turns, _ = reading.rates(runs=1)

    assert turns == [
        MeasuredTurns(rate=old, run_id=RunId(1), at=at(0)),
        MeasuredTurns(rate=turn_rate(in_flight=1), run_id=None, at=at(5)),
        MeasuredTurns(rate=turn_rate(in_flight=8), run_id=None, at=at(5)),
        MeasuredTurns(rate=turn_rate(endpoint=ELSEWHERE), run_id=RunId(1), at=at(0)),
    ]


def test_run_that_measures_twice_counts_once(store: SqlTaskStore, reading: Reading) -> None:
    before, run_id = begin(store), begin(store)
    store.keep_rates(before, [turn_rate()], [], at(0))
    for seconds in (10, 20):
        store.keep_rates(run_id, [turn_rate()], [], at(seconds))

    assert [row.at for row in reading.rates(runs=1)[0]] == [at(20), at(10)]
    assert [row.at for row in reading.rates(runs=2)[0]] == [at(20), at(10), at(0)]


def test_predictions_come_by_run(store: SqlTaskStore, reading: Reading) -> None:
    first, second = begin(store), begin(store)
    store.keep_predictions(first, [prediction(ENDPOINT, turns=29), prediction()])

    found = reading.predictions([second, first])

    assert found == {second: [], first: [prediction(), prediction(ENDPOINT, turns=29)]}


def test_actuals_come_by_run_and_endpoint(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))
    first, second = begin(store), begin(store)
    finish(store, first)
    for endpoint in (ENDPOINT, ELSEWHERE, ELSEWHERE):
        store.keep_swap(first, Swap(endpoint=endpoint, unloaded=(), loaded="qwen", seconds=2.5, at=at(1)))
    store.end_run(first, RunStatus.DONE, at(90))

    found = reading.actuals([first, second, RunId(99)])

    assert found[first] == [
        Actual(endpoint="", turns=3, loads=3, seconds=90.0),
        Actual(endpoint=ENDPOINT, turns=3, loads=1, seconds=90.0),
        Actual(endpoint=ELSEWHERE, turns=0, loads=2, seconds=90.0),
    ]
    assert found[second] == [Actual(endpoint="", turns=0, loads=0, seconds=None)]
    assert found[RunId(99)] == []
