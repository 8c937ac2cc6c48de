"""A clock that was set back: what waits until a time that only the wrong clock knew does not wait for it."""

from __future__ import annotations

import pytest

from orchestrator.domain import RunId
from tests.store_rows import (
    DIGEST,
    ENDPOINT,
    SECOND,
    Store,
    at,
    begin,
    claim_one,
    drafts,
    failed,
    request,
    spoken,
    submission,
)

DAY_S = 86_400


def backing_off(store: Store, when: float) -> RunId:
    """One task that failed at that time, and waits 30 s from then on."""
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    claim = claim_one(store, run_id, now=at(when), leased_until=at(when + 60))
    assert store.fail(failed(claim, retry_at=at(when + 30)), at(when))
    return run_id


def later(store: Store, now: float, run_id: RunId | None = None) -> int:
    (waiting,) = store.waiting([DIGEST], at(now), run_id)
    assert waiting.ready + waiting.later == 1
    assert (waiting.next_at is None) == (waiting.later == 0)
    return waiting.later


def test_wait_of_a_clock_a_day_ahead_is_over(store: Store) -> None:
    run_id = backing_off(store, DAY_S)
    assert later(store, DAY_S) == 1

    assert later(store, 0) == later(store, 0, run_id) == 0
    assert claim_one(store, run_id, now=at(0)).attempt == 2


def test_it_is_over_for_other_endpoints_too(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id, then = begin(store), {"now": at(DAY_S), "leased_until": at(DAY_S + 60)}
    assert store.record(spoken(claim_one(store, run_id, **then), then=SECOND, home="elsewhere"), at(DAY_S))
    claim = claim_one(store, run_id, model=SECOND.model, fresh=False, home="elsewhere", **then)
    assert store.fail(failed(claim, retry_at=at(DAY_S + 30)), at(DAY_S))

    assert store.leave([ENDPOINT], at(0)) == 1

    assert claim_one(store, run_id, model=SECOND.model, fresh=False, now=at(1)).attempt == 2


@pytest.mark.parametrize("back_s", [0, 1, 60])
def test_wait_outlives_a_small_correction(store: Store, back_s: float) -> None:
    run_id = backing_off(store, 100)

    assert later(store, 100 - back_s) == 1
    assert store.claim(request(run_id, now=at(100 - back_s))) == []
    assert claim_one(store, run_id, now=at(130)).attempt == 2


def test_clock_that_goes_on_ends_the_wait(store: Store) -> None:
    run_id = backing_off(store, 0)

    assert later(store, DAY_S) == 0
    assert claim_one(store, run_id, now=at(DAY_S)).attempt == 2
