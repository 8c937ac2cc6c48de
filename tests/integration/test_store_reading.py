"""What a reader learns from a database that a run is writing to."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from orchestrator.domain import RunStatus, Swap, TaskStatus, Verdict
from orchestrator.errors import ErrorClass, StoreError
from orchestrator.store.engine import Statement, Writer, reader_engine
from orchestrator.store.reading import Reading
from orchestrator.store.reading_rows import FailureCount, StatusCount
from orchestrator.store.run_tables import runs
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import (
    DIGEST,
    ENDPOINT,
    FIRST,
    LAST,
    OTHER,
    SECOND,
    at,
    begin,
    claim_one,
    drafts,
    empty_database,
    failed,
    finish,
    spoken,
    submission,
    turn,
)

ADD_RUN = Statement(
    text("INSERT INTO runs VALUES (NULL, 'here', 1, :lock, 4, 'running', '', '2026-11-21T10:50:00.000000Z', NULL)")
)


def test_counts_tasks_by_status(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))

    finish(store, begin(store))

    assert reading.counts() == [
        StatusCount(debate="jobs", digest=DIGEST, status=TaskStatus.DONE, count=1),
        StatusCount(debate="jobs", digest=DIGEST, status=TaskStatus.PENDING, count=2),
    ]


def test_counts_failures_by_class(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = begin(store)
    store.fail(failed(claim_one(store, run_id), at(2)), at(2))
    store.fail(failed(claim_one(store, run_id, now=at(2))), at(3))
    store.fail(failed(claim_one(store, run_id), at(9), error_class=ErrorClass.SHAPE), at(3))

    assert reading.failures() == [
        FailureCount(debate="jobs", error_class=ErrorClass.TRANSIENT, tasks=1, attempts=2),
        FailureCount(debate="jobs", error_class=ErrorClass.SHAPE, tasks=0, attempts=1),
    ]


def test_runs_say_what_came_of_them(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    first, second = begin(store, "first.lock"), begin(store, "second.lock")
    finish(store, first)
    store.fail(failed(claim_one(store, second)), at(4))
    version = store.begin_swap(second, store.resident(ENDPOINT, at(5)), at(30), at(5))
    swap = Swap(endpoint=ENDPOINT, unloaded=("qwen",), loaded="gemma", seconds=2.5, at=at(8))
    store.end_swap(second, version or 0, ["gemma"], swap, ENDPOINT)
    store.end_run(second, RunStatus.FAILED, at(9), "disk full")

    newest, oldest = reading.runs()

    assert (newest.run_id, newest.status, newest.reason, newest.ended_at) == (second, "failed", "disk full", at(9))
    assert (newest.turns, newest.verdicts, newest.failed_attempts, newest.swaps, newest.swap_seconds) == (
        0,
        0,
        1,
        1,
        2.5,
    )
    assert (oldest.lock, oldest.status, oldest.turns, oldest.verdicts) == ("first.lock", "running", 3, 1)
    assert reading.runs(limit=1) == [newest]


def test_speaking_shows_current_leases(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    claim_one(store, run_id, now=at(1), leased_until=at(61))
    claim_one(store, run_id, now=at(2), leased_until=at(62))

    (row,) = reading.speaking()

    assert (row.endpoint, row.run_id, row.role, row.model, row.count) == (ENDPOINT, run_id, "advocate", "qwen", 2)
    assert (row.since, row.leased_until) == (at(1), at(61))


def test_token_means_by_role_and_model(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))

    finish(store, begin(store))

    means = reading.tokens("jobs")
    assert [(mean.role, mean.model, mean.turns) for mean in means] == [
        ("advocate", "qwen", 1),
        ("critic", "gemma", 1),
        ("judge", "qwen", 1),
    ]
    assert (means[0].prompt_tokens, means[0].reply_tokens, means[0].seconds) == (900.0, 100.0, 2.0)
    assert reading.tokens("salaries") == []


def test_find_shows_the_whole_debate(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))
    run_id = begin(store)
    failure = failed(claim_one(store, run_id), at(2))
    store.fail(failure, at(2))
    claim = claim_one(store, run_id, now=at(2))
    store.record(spoken(claim, then=LAST, hold=True), at(5))
    store.record(spoken(claim, LAST, verdict=Verdict(score=0, label="skip")), at(7))

    (detail,) = reading.find("a")

    assert (detail.key, detail.source, detail.payload) == ("a", "jobs.jsonl", {"title": "title of a"})
    assert (detail.status, detail.step, detail.verdict) == ("done", None, Verdict(score=0, label="skip"))
    assert (detail.turns, detail.attempts) == ((turn(FIRST), turn(LAST)), (failure.attempt,))
    assert (detail.created_at, detail.finished_at) == (at(0), at(7))
    assert reading.find("nobody") == []


def test_find_lists_newest_task_first(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))
    store.submit(submission(debate="salaries", digest=OTHER), drafts("a"), at(1))

    assert [detail.debate for detail in reading.find("a")] == ["salaries", "jobs"]
    assert [detail.step for detail in reading.find("a", "jobs")] == [FIRST]


def test_verdicts_lists_all_but_superseded(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    finish(store, run_id)
    store.fail(failed(claim_one(store, run_id), error_class=ErrorClass.SHAPE), at(9))
    store.supersede("jobs", OTHER, SECOND, at(20))

    rows = list(reading.verdicts("jobs"))

    assert [(row.key, row.status, row.score, row.label, row.error_class) for row in rows] == [
        ("a", "done", 7, "apply", None),
        ("b", "failed", None, None, "shape"),
        ("c", "pending", None, None, None),
    ]
    assert [row.key for row in reading.verdicts(include_unfinished=False)] == ["a"]
    assert list(reading.verdicts("salaries")) == []


def test_verdict_row_carries_its_grounds(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))

    finish(store, begin(store))

    (row,) = reading.verdicts()
    assert (row.analysis, row.quotes_verified, row.quotes_total, row.turns) == ("good", 3, 6, 3)
    assert (row.backends, row.judge_model, row.finished_at) == (("ollama",), "qwen", at(9))
    assert row.payload == {"title": "title of a"}


def test_export_is_one_snapshot(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = begin(store)
    rows = reading.verdicts()
    first = next(rows)

    finish(store, run_id)
    finish(store, run_id)

    assert [first.status, *(row.status for row in rows)] == ["pending", "pending"]
    assert [row.status for row in reading.verdicts()] == ["done", "done"]


def test_errors_come_newest_first(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = begin(store)
    store.fail(failed(claim_one(store, run_id)), at(2))
    store.fail(failed(claim_one(store, run_id), error_class=ErrorClass.SHAPE, error="no score"), at(3))

    newest, oldest = reading.errors()

    assert (newest.key, newest.status, newest.role, newest.attempt) == ("b", "failed", "advocate", 1)
    assert (newest.error_class, newest.error, newest.at) == ("shape", "no score", at(2))
    assert (newest.guard, newest.asks, oldest.guard, oldest.asks) == (None, 1, None, 1)
    assert list(reading.errors("jobs", ErrorClass.TRANSIENT)) == [oldest]
    assert list(reading.errors(limit=1)) == [newest]


def test_missing_database_says_what_to_do(tmp_path: Path) -> None:
    for opening in (lambda: Reading(tmp_path / "no.db"), lambda: SqlTaskStore(tmp_path / "no.db")):
        with pytest.raises(StoreError, match="run `orchestrate submit` or `orchestrate db upgrade`"):
            opening()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_writer_syncs_as_it_is_told(store: SqlTaskStore, mode: str, level: int) -> None:
    writer = Writer(store.path, mode)

    assert writer.run(Statement(text("PRAGMA synchronous")), {}).scalar_one() == level
    assert writer.run(Statement(text("PRAGMA journal_mode")), {}).scalar_one() == "wal"
    assert writer.run(Statement(text("PRAGMA foreign_keys")), {}).scalar_one() == 1
    assert writer.run(Statement(text("PRAGMA busy_timeout")), {}).scalar_one() == 60_000
    writer.close()


def test_reader_cannot_write(store: SqlTaskStore) -> None:
    engine = reader_engine(store.path)

    with engine.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(runs.delete())


def test_database_is_readable_by_owner_only(store: SqlTaskStore, tmp_path: Path) -> None:
    store.submit(submission(), drafts("a"), at(0))

    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert modes == {"tasks.db": 0o600, "tasks.db-wal": 0o600, "tasks.db-shm": 0o600}


def test_foreign_and_damaged_files_are_said(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.write_bytes(b"key,title\n" * 1_000)
    with pytest.raises(StoreError, match="is not a SQLite database: give another path"):
        SqlTaskStore(path)

    empty_database(path)
    torn = bytearray(path.read_bytes())
    torn[4096:] = bytes(len(torn) - 4096)
    path.write_bytes(torn)
    with Reading(path) as reading, pytest.raises(StoreError, match="is damaged: restore a copy"):
        reading.counts()


def test_locked_database_is_said(store: SqlTaskStore) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = Writer(store.path, "FULL")
    impatient.run(Statement(text("PRAGMA busy_timeout=1")), {})

    with pytest.raises(StoreError, match="is locked by another program"), impatient.transaction():
        pass
    other.execute("COMMIT")
    with impatient.transaction():
        pass
    impatient.close()
    other.close()


def test_full_disk_stops_without_loss(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a"), at(0))
    writer = Writer(store.path, "FULL")
    pages = writer.run(Statement(text("PRAGMA page_count")), {}).scalar_one()
    writer.run(Statement(text(f"PRAGMA max_page_count={pages}")), {})

    with pytest.raises(StoreError, match="is full: free some space"), writer.transaction():
        writer.run_many(ADD_RUN, [{"lock": f"{lock}" * 1_000} for lock in range(1_000)])

    assert (reading.runs(), len(list(store.tasks()))) == ([], 1)
    writer.close()
