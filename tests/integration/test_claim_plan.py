"""A claim costs the same in a small table and in a large one: shown by its plan and by counting SQLite's steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.claims import CLAIMS
from orchestrator.store.codec import time_text
from tests.store_rows import DIGEST, ENDPOINT, FIRST, at, empty_database

SMALL, LARGE = 1_000, 100_000
VALUES: dict[str, Any] = {
    "digest_is": DIGEST,
    "model_is": FIRST.model,
    "fresh_is": 1,
    "at": time_text(at(0)),
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
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {claim.sql}", claim.bind(VALUES))]

    index = "tasks_claim_mine (run_id=? AND digest=?" if mine else "tasks_claim (digest=?"
    assert f"SEARCH ready USING INDEX {index} AND next_model=? AND fresh=?)" in plan
    assert not [line for line in plan if "TEMP B-TREE" in line or line.startswith("SCAN tasks")]


def test_claim_costs_the_same_in_large_tables(tmp_path: Path) -> None:
    with filled(tmp_path / "small.db", SMALL) as small, filled(tmp_path / "large.db", LARGE) as large:
        counted = {variant: (steps(small, *variant), steps(large, *variant)) for variant in CLAIMS}

    for few, many in counted.values():
        assert 0 < many <= few * 1.1
