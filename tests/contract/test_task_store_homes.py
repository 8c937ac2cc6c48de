"""What every task store promises about turns that wait: how they are counted, and which endpoint should speak them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain import Role, RunId, RunStatus, Step, Waiting
from tests.store_rows import (
    DIGEST,
    ENDPOINT,
    FIRST,
    LAST,
    OTHER,
    SECOND,
    VERDICT,
    Store,
    at,
    begin,
    claim_one,
    drafts,
    failed,
    keys_of,
    request,
    spoken,
    submission,
)

ELSEWHERE = "http://127.0.0.1:11435"


def second_turns(store: Store, *homes: str) -> RunId:
    """Tasks whose first turn is spoken, and whose next one should be spoken at home."""
    store.submit(submission(), drafts(*(f"{number}" for number, _ in enumerate(homes))), at(0))
    run_id = begin(store)
    for home in homes:
        store.record(spoken(claim_one(store, run_id), home=home), at(3))
    return run_id


def homes_of(store: Store) -> dict[str, int]:
    return {row.home: row.ready + row.later for row in store.waiting([DIGEST, OTHER], at(0))}


def second(run_id: RunId, **changes: Any) -> Any:
    return request(run_id, model=SECOND.model, fresh=False, limit=9, **changes)


def test_claim_takes_one_home_only(store: Store) -> None:
    run_id = second_turns(store, "", ENDPOINT, ELSEWHERE, ENDPOINT)

    assert keys_of(store.claim(second(run_id, home=ENDPOINT))) == ["1", "3"]
    assert keys_of(store.claim(second(run_id))) == ["0"]
    assert keys_of(store.claim(second(run_id, home=ELSEWHERE, mine=True))) == ["2"]


def test_new_task_is_at_home_nowhere(store: Store) -> None:
    second_turns(store, ENDPOINT)

    store.supersede("jobs", OTHER, FIRST, at(5))

    assert homes_of(store) == {"": 1}


@pytest.mark.parametrize("ending", ["fail", "release", "rescue", "end_run"])
def test_unspoken_turn_keeps_its_home(store: Store, ending: str) -> None:
    run_id = second_turns(store, ENDPOINT)
    claim = claim_one(store, run_id, model=SECOND.model, fresh=False, home=ENDPOINT)

    if ending == "fail":
        store.fail(failed(claim, retry_at=at(9)), at(5))
    elif ending == "release":
        store.release(claim.task_id, claim.token, at(5))
    elif ending == "rescue":
        store.rescue(at(5), 5, dead=[run_id])
    else:
        store.end_run(run_id, RunStatus.INTERRUPTED, at(5))

    assert homes_of(store) == {ENDPOINT: 1}


def test_each_turn_says_the_next_home(store: Store) -> None:
    run_id = second_turns(store, ENDPOINT)
    claim = claim_one(store, run_id, model=SECOND.model, fresh=False, home=ENDPOINT)
    store.record(spoken(claim, SECOND, then=LAST, hold=True, home=ELSEWHERE), at(6))

    store.release(claim.task_id, claim.token, at(7))

    assert homes_of(store) == {ELSEWHERE: 1}
    last = claim_one(store, run_id, fresh=False, home=ELSEWHERE)
    assert store.record(spoken(last, LAST, verdict=VERDICT, home=ELSEWHERE), at(9))
    assert homes_of(store) == {}


def test_leave_frees_turns_of_other_endpoints(store: Store) -> None:
    run_id = second_turns(store, "", ENDPOINT, ELSEWHERE, ELSEWHERE)

    assert store.leave([ENDPOINT], at(5)) == 2
    assert store.leave([ENDPOINT], at(5)) == 0

    assert homes_of(store) == {"": 3, ENDPOINT: 1}
    assert store.leave([], at(6)) == 1
    assert keys_of(store.claim(second(run_id))) == ["0", "1", "2", "3"]


def test_leave_lets_a_leased_turn_be(store: Store) -> None:
    run_id = second_turns(store, ELSEWHERE)
    claim = claim_one(store, run_id, model=SECOND.model, fresh=False, home=ELSEWHERE)

    assert store.leave([ENDPOINT], at(5)) == 0

    store.release(claim.task_id, claim.token, at(6))
    assert homes_of(store) == {ELSEWHERE: 1}


def test_undone_leave_keeps_the_homes(store: Store) -> None:
    run_id = second_turns(store, ELSEWHERE)

    def batch() -> None:
        with store.batch():
            store.leave([ENDPOINT], at(5))
            raise KeyError("anything")

    with pytest.raises(KeyError):
        batch()
    assert keys_of(store.claim(second(run_id, home=ELSEWHERE))) == ["0"]


def waiting(**changes: Any) -> Waiting:
    usual: dict[str, Any] = {"digest": DIGEST, "step": FIRST, "fresh": True, "priority": 0, "home": ""}
    return Waiting(**usual | {"ready": 1, "later": 0, "next_at": None} | changes)


def test_waiting_counts_by_step_and_freshness(store: Store) -> None:
    run_id = second_turns(store, ENDPOINT)
    store.submit(submission(), drafts("a", "b"), at(0))
    store.submit(submission(digest=OTHER, debate="salaries"), drafts("a"), at(0))
    store.fail(failed(claim_one(store, run_id), retry_at=at(50)), at(3))

    held = waiting(step=SECOND, fresh=False, home=ENDPOINT)
    assert store.waiting([DIGEST], at(49)) == [waiting(later=1, next_at=at(50)), held]
    assert store.waiting([DIGEST], at(50)) == [waiting(ready=2), held]
    assert store.waiting([OTHER, DIGEST], at(50)) == [waiting(ready=2), held, waiting(digest=OTHER)]
    assert store.waiting([], at(50)) == []


def test_waiting_counts_by_round_and_priority(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    store.submit(submission(priority=5), drafts("c"), at(0))
    rebuttal = Step(role=Role.ADVOCATE, round=2, model=FIRST.model)
    for then in (rebuttal, LAST):
        store.record(spoken(claim_one(store, begin(store)), then=then), at(3))

    found = store.waiting([DIGEST], at(4))

    assert found == [
        waiting(),
        waiting(step=rebuttal, fresh=False, priority=5),
        waiting(step=LAST, fresh=False),
    ]
    assert [row.model for row in found] == ["qwen"] * 3


def test_waiting_tells_what_a_run_held(store: Store) -> None:
    first = second_turns(store, ENDPOINT, "")
    store.submit(submission(), drafts("a", "b"), at(0))
    other = begin(store)
    store.record(spoken(claim_one(store, other)), at(3))

    assert [row.home for row in store.waiting([DIGEST], at(4), held_by=first)] == ["", ENDPOINT]
    assert store.waiting([DIGEST], at(4), held_by=other) == [waiting(step=SECOND, fresh=False)]


def test_waiting_joins_debates_of_one_digest(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    store.submit(submission(debate="salaries", source="other.jsonl"), drafts("a"), at(0))

    assert store.waiting([DIGEST], at(0)) == [waiting(ready=2)]
