"""What every task store promises about records coming in, checked on each of them."""

from __future__ import annotations

import pytest

from orchestrator.domain import JobDraft, Submitted
from orchestrator.errors import StoreError
from tests.store_rows import (
    DIGEST,
    FIRST,
    LAST,
    OTHER,
    SECOND,
    Store,
    at,
    begin,
    claim_one,
    drafts,
    finish,
    spoken,
    statuses,
    submission,
    turn,
)


def test_new_keys_get_pending_tasks(store: Store) -> None:
    counts = store.submit(submission(), drafts("a", "b"), at(0))

    assert counts == Submitted(added=2)
    assert [(task.key, task.status, task.step) for task in store.tasks()] == [
        ("a", "pending", FIRST),
        ("b", "pending", FIRST),
    ]


def test_known_keys_change_nothing(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))

    counts = store.submit(submission(), drafts("b", "a", "c"), at(1))

    assert counts == Submitted(added=1, known=2)
    assert statuses(store) == ["pending"] * 3


def test_order_of_fields_is_kept_but_no_change(store: Store) -> None:
    store.submit(submission(), [JobDraft(key="a", payload={"y": 1, "x": [True, None, "ß"]})], at(0))

    counts = store.submit(submission(), [JobDraft(key="a", payload={"x": [True, None, "ß"], "y": 1})], at(1))

    assert counts == Submitted(known=1)
    assert list(claim_one(store, begin(store)).payload.items()) == [("y", 1), ("x", [True, None, "ß"])]


def test_key_is_unique_in_its_source_only(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))

    counts = store.submit(submission(source="other.jsonl"), drafts("a", more=1), at(1))

    assert counts == Submitted(added=1)


def test_changed_payload_is_listed_and_left_alone(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))

    counts = store.submit(submission(), [*drafts("a"), *drafts("b", more=1)], at(1))

    assert counts == Submitted(known=1, changed=("b",))
    assert statuses(store) == ["pending", "pending"]


def test_update_replaces_unfinished_older_revisions(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    claim = claim_one(store, begin(store))

    counts = store.submit(submission(update=True), drafts("a", "b", more=1), at(1))

    assert counts == Submitted(updated=2)
    assert statuses(store) == ["superseded", "superseded", "pending", "pending"]
    assert not store.record(spoken(claim), at(2))
    assert claim_one(store, begin(store)).payload == {"title": "title of a", "more": 1}


def test_update_keeps_finished_older_revisions(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    finish(store, begin(store))

    store.submit(submission(update=True), drafts("a", more=1), at(10))

    assert statuses(store) == ["done", "pending"]


def test_another_debate_adds_tasks_to_known_jobs(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    finish(store, begin(store))

    counts = store.submit(submission(debate="salaries", digest=OTHER), drafts("a"), at(10))

    assert counts == Submitted(added=1)
    assert statuses(store) == ["done", "pending"]


def test_judged_under_another_digest_is_said(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    finish(store, begin(store))

    counts = store.submit(submission(digest=OTHER), drafts("a", "b"), at(10))

    assert counts == Submitted(judged_before=1, known=1)
    assert statuses(store) == ["done", "pending"]


def test_again_adds_tasks_to_judged_jobs(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    finish(store, begin(store))

    counts = store.submit(submission(digest=OTHER, again=True), drafts("a"), at(10))
    repeated = store.submit(submission(digest=OTHER, again=True), drafts("a"), at(11))

    assert (counts, repeated) == (Submitted(again=1), Submitted(known=1))
    assert [(task.digest, task.status) for task in store.tasks()] == [(DIGEST, "done"), (OTHER, "pending")]


def test_repeated_key_in_one_batch_is_known(store: Store) -> None:
    batch = [*drafts("a"), *drafts("a"), *drafts("a", more=1)]

    assert store.submit(submission(), batch, at(0)) == Submitted(added=1, known=1, changed=("a",))
    assert store.submit(submission(update=True), batch, at(1)) == Submitted(known=2, updated=1)


@pytest.mark.parametrize(
    "unstorable",
    [
        JobDraft(key="bad", payload={"x": float("nan")}),
        JobDraft(key="bad", payload={"x": "\ud800"}),
        JobDraft(key="bad\x00", payload={}),
        JobDraft(key="", payload={}),
    ],
)
def test_unstorable_record_leaves_nothing_behind(store: Store, unstorable: JobDraft) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        store.submit(submission(), [*drafts("a"), unstorable], at(0))

    assert statuses(store) == []


def test_supersede_replaces_only_pending_tasks(store: Store) -> None:
    store.submit(submission(priority=3), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    finish(store, run_id)
    claim_one(store, run_id)

    replaced = store.supersede("jobs", OTHER, LAST, at(20))

    assert replaced == 1
    assert statuses(store) == ["done", "leased", "superseded", "pending"]
    claim = claim_one(store, run_id, digest=OTHER, model=LAST.model)
    assert (claim.key, claim.step) == ("c", LAST)


def test_supersede_leaves_what_is_judged_alone(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    finish(store, begin(store))
    store.submit(submission(digest=OTHER, again=True), drafts("a"), at(10))

    replaced = store.supersede("jobs", DIGEST, FIRST, at(20))

    assert replaced == 1
    assert statuses(store) == ["done", "superseded"]


def test_returning_digest_wakes_its_tasks(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    store.record(spoken(claim_one(store, run_id)), at(3))
    store.supersede("jobs", OTHER, FIRST, at(4))

    replaced = store.supersede("jobs", DIGEST, FIRST, at(5))

    assert replaced == 1
    assert statuses(store) == ["pending", "superseded"]
    claim = claim_one(store, run_id, fresh=False, model=SECOND.model)
    assert claim.turns == (turn(),)
