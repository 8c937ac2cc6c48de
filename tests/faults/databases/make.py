"""Makes a half-done database with the code of the checkout it runs in: `python make.py FOLDER NAME.sqlite3`.

A revision's file was made once, by the last code that had this revision as its newest, and never changes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orchestrator
from orchestrator.domain import Digest
from orchestrator.ports import ClaimRequest, RunStart
from orchestrator.store.tasks import SqlTaskStore

COMMAND = Path(sys.executable).with_name("orchestrate")
DATABASE = "orchestrate.db"
THEN = datetime(2026, 11, 21, 10, 50, tzinfo=UTC)
TOMORROW = datetime(2026, 11, 22, 10, 50, tzinfo=UTC)


def make(folder: Path, kept: Path) -> None:
    """Two verdicts, a cancelled task, two that a dead run holds, and one that nobody has touched."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sample = Path(orchestrator.__file__).parents[1] / "prompts/posting/sample.jsonl"
    records = folder / "records.jsonl"
    records.write_text("".join(sample.read_text().splitlines(keepends=True)[:6]))
    for words in (
        ["submit", "records.jsonl", "--debate", "posting"],
        ["process-pending", "--max-tasks", "2"],
        ["cancel", "--key", "posting-003"],
    ):
        subprocess.run([COMMAND, *words], cwd=folder, check=True, env=os.environ, capture_output=True)
    _claim(folder / DATABASE)
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(folder / DATABASE, kept)


def _claim(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        ((digest, model),) = database.execute("SELECT DISTINCT digest, next_model FROM tasks WHERE status = 'pending'")
    store = SqlTaskStore(path)
    run_id = store.begin_run(RunStart(host="here", pid=1, lock=".gone.lock", max_workers=4, started_at=THEN))
    request = ClaimRequest(
        run_id=run_id,
        endpoint="rehearsal",
        digest=Digest(digest),
        model=model,
        limit=2,
        now=THEN,
        leased_until=TOMORROW,
        fresh=True,
    )
    assert len(store.claim(request)) == 2
    store.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
