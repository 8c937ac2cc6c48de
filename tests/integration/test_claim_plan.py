"""What a run asks all the time costs little in a large table: shown by plans and by counting SQLite's steps."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.claims import CLAIMS, LEAVE
from orchestrator.store.codec import time_text
from orchestrator.store.engine import Statement
from orchestrator.store.listing import WAITING
from orchestrator.store.questions import WAITING_STEPS
from tests.store_rows import DIGEST, ENDPOINT, FIRST, at, empty_database

SMALL, LARGE = 1_000, 100_000
VALUES: dict[str, Any] = {
    "digest_is": DIGEST,
    "model_is": FIRST.model,
    "fresh_is": 1,
    "home_is": "",
    "homes": "[]",
    "digests": json.dumps([DIGEST]),
    "at": time_text(at(0)),
    "ahead": time_text(at(60)),
    "run": 1,
    "at_endpoint": ENDPOINT,
    "version_is": 1,
    "at_most": 1,
    "until": time_text(at(60)),
}


@contextmanager
def filled(path: Path, tasks: int) -> Iterator[sqlite3.Connection]:
    """A database with that many pending tasks, the half of them held once by run 1."""
    with closing(sqlite3.connect(empty_database(path), isolation_level=None)) as connection:
        connection.executescript(
            f"""
            BEGIN;
            INSERT INTO runs VALUES (1, 'here', 1, 'run.lock', 1, 'running', '', '{time_text(at(0))}', NULL);
            INSERT INTO endpoints VALUES ('{ENDPOINT}', '["qwen"]', 1, NULL, NULL);
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {tasks})
            INSERT INTO jobs SELECT n, 'source', n, 1, '{{}}', '', '{time_text(at(0))}' FROM numbers;
            INSERT INTO tasks (job_id, debate, digest, status, next_role, next_round, next_model, fresh, priority,
                attempts, token, run_id, created_at, updated_at)
            SELECT id, 'jobs', '{DIGEST}', 'pending', 'advocate', 1, 'qwen', 1, 0, 0, 0, iif(id % 2, 1, NULL),
                '{time_text(at(0))}', '{time_text(at(0))}'
            FROM jobs;
            COMMIT;
            """
        )
        yield connection


def plan_of(connection: sqlite3.Connection, statement: Statement) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.bind(VALUES))]


def steps(connection: sqlite3.Connection, mine: bool, agreed: bool) -> int:
    """Instructions of SQLite's virtual machine that one claim takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    claim = CLAIMS[mine, agreed]
    connection.set_progress_handler(count, 1)
    claimed = connection.execute(claim.sql, claim.bind(VALUES)).fetchall()
    connection.set_progress_handler(None, 1)
    assert len(claimed) == 1
    return counted


@pytest.mark.parametrize(("mine", "agreed"), CLAIMS)
def test_claim_walks_its_partial_index(tmp_path: Path, mine: bool, agreed: bool) -> None:
    claim = CLAIMS[mine, agreed]

    with filled(tmp_path / "tasks.db", SMALL) as connection:
        plan = plan_of(connection, claim)

    index = "tasks_claim_mine (run_id=? AND digest=?" if mine else "tasks_claim (digest=?"
    assert f"SEARCH ready USING INDEX {index} AND next_model=? AND fresh=? AND home=?)" in plan
    assert not [line for line in plan if "TEMP B-TREE" in line or line.startswith("SCAN tasks")]


def test_claim_costs_the_same_in_large_tables(tmp_path: Path) -> None:
    with filled(tmp_path / "small.db", SMALL) as small, filled(tmp_path / "large.db", LARGE) as large:
        counted = {variant: (steps(small, *variant), steps(large, *variant)) for variant in CLAIMS}

    for few, many in counted.values():
        assert 0 < many <= few * 1.1


@pytest.mark.parametrize("question", [WAITING[False][0], Statement(WAITING_STEPS)])
def test_waiting_turns_are_counted_without_rows(tmp_path: Path, question: Statement) -> None:
    with filled(tmp_path / "tasks.db", SMALL) as connection:
        plan = plan_of(connection, question)
        counted = [row[-1] for row in connection.execute(question.sql, question.bind(VALUES))]

    assert any(line.split(" tasks USING ")[-1].startswith("COVERING INDEX tasks_status") for line in plan)
    assert not [line for line in plan if "TEMP B-TREE" in line]
    assert counted == [SMALL]


def test_leaving_walks_homes_only(tmp_path: Path) -> None:
    with filled(tmp_path / "tasks.db", SMALL) as connection:
        plan = plan_of(connection, LEAVE)

    assert "SEARCH tasks USING INDEX tasks_home (home>?)" in plan
