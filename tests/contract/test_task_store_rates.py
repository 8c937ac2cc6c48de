"""What every task store promises about measurements and predictions."""

from __future__ import annotations

import pytest

from orchestrator.domain import Role
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns
from tests.store_rows import (
    ENDPOINT,
    Store,
    at,
    begin,
    load_rate,
    prediction,
    predictions_of,
    rates_of,
    turn_rate,
)


def test_rates_come_back_as_measured(store: Store) -> None:
    run_id = begin(store)
    judges = turn_rate(role=Role.JUDGE, in_flight=1)

    store.keep_rates(run_id, [turn_rate(), judges], [load_rate()], at(9))

    turns, loads = rates_of(store)
    assert turns == [MeasuredTurns(rate=rate, run_id=run_id, at=at(9)) for rate in (turn_rate(), judges)]
    assert loads == [MeasuredLoads(rate=load_rate(), run_id=run_id, at=at(9))]


def test_probe_measures_without_a_run(store: Store) -> None:
    store.keep_rates(None, [turn_rate(model_digest="")], [], at(9))
    store.keep_rates(None, [], [], at(9))

    assert rates_of(store) == ([MeasuredTurns(rate=turn_rate(model_digest=""), run_id=None, at=at(9))], [])


def test_unwritable_digest_of_a_model_is_kept(store: Store) -> None:
    store.keep_rates(None, [], [load_rate(model_digest="a\x00\ud800")], at(9))

    assert rates_of(store)[1][0].rate.model_digest == "a\ufffd\ufffd"


def test_predictions_come_back_as_said(store: Store) -> None:
    run_id, other = begin(store), begin(store)
    unknown = prediction(ENDPOINT, seconds=None, low=None, high=None, first_verdict=None)

    store.keep_predictions(run_id, [unknown, prediction()])

    assert predictions_of(store, run_id) == [prediction(), unknown]
    assert predictions_of(store, other) == []


def test_prediction_said_twice_is_kept_once(store: Store) -> None:
    run_id = begin(store)
    store.keep_predictions(run_id, [prediction()])

    store.keep_predictions(run_id, [prediction(turns=31)])

    assert predictions_of(store, run_id) == [prediction(turns=31)]


def test_undone_batch_forgets_what_was_measured(store: Store) -> None:
    run_id = begin(store)

    def batch() -> None:
        with store.batch():
            store.keep_rates(run_id, [turn_rate()], [load_rate()], at(9))
            store.keep_predictions(run_id, [prediction()])
            raise KeyError("anything")

    with pytest.raises(KeyError):
        batch()
    assert (rates_of(store), predictions_of(store, run_id)) == (([], []), [])
