"""What every task store promises about claims, turns, runs and swaps, checked on each of them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain import Claim, Resident, RunStatus, Swap, TaskId, Token
from orchestrator.errors import ErrorClass
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
    attempts_of,
    begin,
    claim_one,
    drafts,
    failed,
    finish,
    keys_of,
    request,
    run_reason,
    spoken,
    statuses,
    submission,
    turn,
    turns_of,
)


def test_claim_takes_urgent_then_oldest(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    store.submit(submission(priority=5), drafts("c", "d"), at(1))

    claims = store.claim(request(begin(store), limit=3))

    assert keys_of(claims) == ["c", "d", "a"]


def test_claim_counts_before_anything_is_said(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))

    claim = claim_one(store, begin(store))

    (task,) = store.tasks()
    assert (claim.attempt, task.attempts, task.token, task.status) == (1, 1, claim.token, "leased")
    assert (claim.debate, claim.digest, claim.step, claim.turns) == ("jobs", DIGEST, FIRST, ())


@pytest.mark.parametrize("change", [{"digest": OTHER}, {"model": "gemma"}, {"fresh": False}, {"limit": 0}])
def test_claim_finds_only_what_it_wants(store: Store, change: dict[str, Any]) -> None:
    store.submit(submission(), drafts("a"), at(0))

    assert store.claim(request(begin(store), **change)) == []


def test_leased_task_is_not_claimed_again(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    claim_one(store, begin(store))

    assert store.claim(request(begin(store), now=at(1_000))) == []


def test_claim_mine_finds_what_the_run_held(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    first, second = begin(store), begin(store)
    for run_id in (first, second):
        store.record(spoken(claim_one(store, run_id)), at(3))

    claims = store.claim(request(second, fresh=False, model=SECOND.model, mine=True, limit=9))

    assert keys_of(claims) == ["b"]


def test_claim_under_old_version_finds_nothing(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    seen = store.resident(ENDPOINT, at(0))
    assert store.claim(request(run_id, resident=seen.version)) == []

    version = store.begin_swap(run_id, seen, at(30), at(0))
    assert version == 1
    assert store.claim(request(run_id, resident=version)) == []

    store.end_swap(run_id, version, ["qwen"], None, ENDPOINT)
    assert store.claim(request(run_id, resident=version - 1)) == []
    assert keys_of(store.claim(request(run_id, resident=version))) == ["a"]


def test_turn_moves_the_task_on(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)

    kept = store.record(spoken(claim_one(store, run_id)), at(3))

    (task,) = store.tasks()
    assert (kept, task.status, task.step, task.attempts, task.turns) == (True, "pending", SECOND, 0, 1)
    assert claim_one(store, run_id, fresh=False, model=SECOND.model).turns == (turn(),)


def test_held_task_counts_its_next_attempt(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    claim = claim_one(store, begin(store))

    store.record(spoken(claim, hold=True), at(3))

    (task,) = store.tasks()
    assert (task.status, task.step, task.attempts, task.token) == ("leased", SECOND, 1, claim.token)


def test_verdict_and_last_turn_come_together(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))

    finish(store, begin(store))

    (task,) = store.tasks()
    assert (task.status, task.step, task.turns, task.verdict) == ("done", None, 3, (7, "apply"))
    assert turns_of(store, "a") == (turn(FIRST), turn(SECOND), turn(LAST))


def test_lost_acknowledgement_is_recognised_by_its_row(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = begin(store)
    claim = claim_one(store, run_id)
    store.record(spoken(claim, hold=True), at(3))

    assert store.record(spoken(claim, hold=True), at(4))
    assert not store.record(spoken(claim, LAST, verdict=VERDICT), at(4))
    done = finish(store, run_id)
    assert store.record(spoken(done, LAST, verdict=VERDICT), at(10))
    assert [task.turns for task in store.tasks()] == [1, 3]


def test_write_under_an_old_token_is_refused(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    late = claim_one(store, begin(store))
    store.rescue(at(61), 5)
    claim_one(store, begin(store), now=at(62))
    before = list(store.tasks())

    assert not store.record(spoken(late), at(63))
    assert not store.fail(failed(late), at(63))
    assert not store.release(late.task_id, late.token, at(63))
    assert list(store.tasks()) == before


def test_unknown_task_is_refused(store: Store) -> None:
    nobody = Claim(
        task_id=TaskId(99),
        token=Token(1),
        key="",
        payload={},
        debate="",
        digest=DIGEST,
        step=FIRST,
        attempt=1,
        turns=(),
    )

    assert not store.record(spoken(nobody), at(0))
    assert not store.fail(failed(nobody), at(0))
    assert not store.release(nobody.task_id, nobody.token, at(0))


def test_turn_needs_exactly_one_sequel(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    claim = claim_one(store, begin(store))

    with pytest.raises(ValueError, match="not by both or neither"):
        store.record(spoken(claim, then=SECOND, verdict=VERDICT), at(1))


def test_unwritable_characters_are_replaced(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    claim = claim_one(store, begin(store))

    store.record(spoken(claim, turn=turn(text="a\x00b\ud800c", reply={"analysis": "\udfff"})), at(3))

    (kept,) = turns_of(store, "a")
    assert (kept.text, kept.reply) == ("a\ufffdb\ufffdc", {"analysis": "\ufffd"})


def test_failed_attempt_waits_for_its_time(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    failure = failed(claim_one(store, run_id), retry_at=at(30))

    assert store.fail(failure, at(2))
    assert store.fail(failure, at(2)), "an acknowledgement that was lost"

    assert store.claim(request(run_id, now=at(29))) == []
    assert claim_one(store, run_id, now=at(30)).attempt == 2
    assert attempts_of(store, "a") == (failure.attempt,)


def test_outage_does_not_eat_attempts(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)

    store.fail(failed(claim_one(store, run_id), retry_at=at(30), counted=False), at(2))

    assert claim_one(store, run_id, now=at(30)).attempt == 1


def test_last_failed_attempt_fails_the_task(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)

    store.fail(failed(claim_one(store, run_id)), at(2))

    assert statuses(store) == ["failed"]
    assert store.claim(request(run_id, now=at(1_000))) == []


def test_released_claim_does_not_count(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    claim = claim_one(store, run_id)

    assert store.release(claim.task_id, claim.token, at(1))
    assert not store.release(claim.task_id, claim.token, at(1))
    assert not store.record(spoken(claim), at(2))
    assert claim_one(store, run_id).attempt == 1


def test_renewed_lease_is_not_rescued(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    alive, silent = begin(store), begin(store)
    claim_one(store, alive)
    claim_one(store, silent)

    assert store.renew(alive, at(90)) == 1

    assert store.rescue(at(60), 5) == 1
    assert statuses(store) == ["leased", "pending"]


def test_rescue_keeps_a_lost_attempt(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    claim_one(store, begin(store), now=at(5))

    store.rescue(at(60), 5)

    (attempt,) = attempts_of(store, "a")
    assert (attempt.error_class, attempt.step, attempt.attempt) == (ErrorClass.LOST, FIRST, 1)
    assert (attempt.endpoint, attempt.started_at, attempt.finished_at) == (ENDPOINT, at(5), at(60))


def test_poison_job_fails_after_its_attempts(store: Store) -> None:
    store.submit(submission(), drafts("poison", "good"), at(0))
    seen = []
    for attempt in range(5):
        run_id = begin(store)
        seen.append(claim_one(store, run_id).key)
        store.rescue(at(attempt), 3, dead=[run_id])

    assert seen == ["poison", "poison", "good", "good", "poison"]
    assert statuses(store) == ["failed", "pending"]


def test_death_beside_others_fails_nobody(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))

    for _ in range(2):
        run_id = begin(store)
        assert len(store.claim(request(run_id, limit=2))) == 2
        store.rescue(at(1), 1, dead=[run_id])

    assert statuses(store) == ["pending", "pending"]


def test_death_beside_others_is_no_last_attempt(store: Store) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = begin(store)
    for _ in range(2):
        store.fail(failed(claim_one(store, run_id), retry_at=at(0)), at(0))
    assert len(store.claim(request(run_id, limit=2))) == 2

    store.rescue(at(1), 3, dead=[run_id])

    assert [task.attempts for task in store.tasks()] == [3, 1]
    assert statuses(store) == ["pending", "pending"]


def test_dead_run_is_lost_with_its_tasks_back(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    dead, alive = begin(store, "dead.lock"), begin(store, "alive.lock")
    claim_one(store, dead)

    assert store.running() == {dead: "dead.lock", alive: "alive.lock"}
    assert store.rescue(at(1), 5, dead=[dead]) == 1
    assert store.running() == {alive: "alive.lock"}
    assert statuses(store) == ["pending"]


def test_ended_run_gives_back_uncounted(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    claim = claim_one(store, run_id)

    store.end_run(run_id, RunStatus.INTERRUPTED, at(1), "Ctrl-C")

    (task,) = store.tasks()
    assert (task.status, task.attempts, store.running()) == ("pending", 0, {})
    assert not store.record(spoken(claim), at(2))


def test_run_says_what_holds_it_up(store: Store) -> None:
    running, ended = begin(store), begin(store)
    store.end_run(ended, RunStatus.DONE, at(1), "all done")

    for run_id in (running, ended):
        store.note_run(run_id, "gpu paused: it does not answer")

    assert [run_reason(store, run_id) for run_id in (running, ended)] == ["gpu paused: it does not answer", "all done"]
    store.note_run(running, "")
    assert run_reason(store, running) == ""


def test_swap_is_reserved_by_one_run(store: Store) -> None:
    mine, theirs = begin(store), begin(store)
    seen = store.resident(ENDPOINT, at(0))

    version = store.begin_swap(mine, seen, at(30), at(0))

    assert seen == Resident(endpoint=ENDPOINT, loaded=(), version=0, swapping=False)
    assert version == 1
    assert store.begin_swap(theirs, seen, at(30), at(0)) is None
    assert store.begin_swap(theirs, store.resident(ENDPOINT, at(1)), at(30), at(1)) is None
    assert not store.end_swap(theirs, version, ["gemma"], None, ENDPOINT)
    swap = Swap(endpoint=ENDPOINT, unloaded=(), loaded="qwen", seconds=2.5, at=at(3))
    assert store.end_swap(mine, version, ["qwen"], swap, ENDPOINT)
    assert store.resident(ENDPOINT, at(4)) == Resident(endpoint=ENDPOINT, loaded=("qwen",), version=1, swapping=False)


def test_swap_waits_for_those_who_speak(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    claim = claim_one(store, run_id)
    seen = store.resident(ENDPOINT, at(0))

    assert (store.leased(ENDPOINT), store.leased("http://elsewhere")) == (1, 0)
    assert store.begin_swap(run_id, seen, at(30), at(0)) is None
    store.release(claim.task_id, claim.token, at(1))
    assert store.begin_swap(run_id, seen, at(30), at(1)) == 1


def test_dead_swapper_leaves_nothing_loaded(store: Store) -> None:
    mine, theirs = begin(store), begin(store)
    version = store.begin_swap(mine, store.resident(ENDPOINT, at(0)), at(30), at(0))

    expired = store.resident(ENDPOINT, at(30))

    assert expired == Resident(endpoint=ENDPOINT, loaded=(), version=1, swapping=False)
    assert store.begin_swap(theirs, expired, at(60), at(30)) == 2
    assert version is not None
    assert not store.end_swap(mine, version, ["qwen"], None, ENDPOINT)
    store.rescue(at(31), 5, dead=[theirs])
    assert not store.resident(ENDPOINT, at(31)).swapping


def test_swap_needs_what_was_seen(store: Store) -> None:
    run_id = begin(store)
    version = store.begin_swap(run_id, store.resident(ENDPOINT, at(0)), at(30), at(0))
    seen = store.resident(ENDPOINT, at(31))
    assert version is not None
    store.end_swap(run_id, version, ["qwen"], None, ENDPOINT)

    assert store.begin_swap(run_id, seen, at(60), at(32)) is None


def test_retry_forgets_attempts_of_the_chosen(store: Store) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    store.fail(failed(claim_one(store, run_id)), at(2))
    store.fail(failed(claim_one(store, run_id), error_class=ErrorClass.SHAPE), at(2))
    store.cancel(at(3), keys=["c"])

    assert store.retry(at(4), error_class=ErrorClass.SHAPE) == 1
    assert store.retry(at(4), debate="salaries") == 0
    assert store.retry(at(4), keys=["c"], debate="jobs") == 1
    assert statuses(store) == ["failed", "pending", "pending"]
    assert [claim.attempt for claim in store.claim(request(run_id, limit=9))] == [1, 1]


def test_retry_leaves_older_revisions_alone(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    store.fail(failed(claim_one(store, begin(store))), at(2))
    store.submit(submission(update=True), drafts("a", more=1), at(3))

    assert store.retry(at(4)) == 0
    assert statuses(store) == ["failed", "pending"]


def test_cancelled_task_refuses_its_worker(store: Store) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    finish(store, run_id)
    claim = claim_one(store, run_id)

    assert store.cancel(at(10), debate="jobs") == 2

    assert statuses(store) == ["done", "cancelled", "cancelled"]
    assert not store.record(spoken(claim), at(11))
    assert store.retry(at(12), error_class=ErrorClass.CANCELLED) == 2


def test_failed_batch_undoes_all_verbs(store: Store) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    before = list(store.tasks())

    def batch() -> None:
        with store.batch():
            store.submit(submission(), drafts("b"), at(1))
            finish(store, run_id)
            raise KeyError("anything")

    with pytest.raises(KeyError):
        batch()
    assert list(store.tasks()) == before
    assert keys_of(store.claim(request(run_id, limit=9))) == ["a"]


def test_batch_keeps_all_verbs(store: Store) -> None:
    with store.batch():
        store.submit(submission(), drafts("a", "b"), at(0))
        run_id = begin(store)
        finish(store, run_id)
        claim_one(store, run_id)

    assert statuses(store) == ["done", "leased"]


def test_task_that_loses_its_workers_goes_alone(store: Store) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    for _ in range(2):
        run_id = begin(store)
        assert keys_of(store.claim(request(run_id, limit=2))) == ["a", "b"]
        store.rescue(at(1), 5, [run_id])

    run_id = begin(store)
    assert keys_of(store.claim(request(run_id, limit=9))) == ["c"], "the others come first"
    assert store.claim(request(run_id, limit=9)) == [], "nothing else may be held meanwhile"
    assert keys_of(store.claim(request(begin(store), limit=9))) == ["a"], "another run's turns are safe"
    store.end_run(run_id, RunStatus.DONE, at(2))
    assert keys_of(store.claim(request(run_id, limit=9))) == ["c"]
