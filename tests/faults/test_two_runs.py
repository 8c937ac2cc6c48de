"""F18: two runs on one database, one of them killed; and databases of the version before and the version after."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.assets import migrations
from orchestrator.store import schema
from tests.faults.report import line
from tests.faults.scene import Account, Scene, Stage

WORKERS = 4
LATER = """
from alembic import op
revision, down_revision = "m9999", "{head}"
def upgrade():
    op.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
def downgrade():
    op.execute("DROP TABLE notes")
"""


def begun(stage: Stage, prepared: Path) -> Scene:
    """A database in the middle of its work; its run was killed."""
    scene = stage.scene(prepared)
    run = scene.start()
    scene.until_stored(20)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    scene.faulted()
    return scene


def contents(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.slow
def test_two_runs_and_one_killed(set_up: Callable[[float], Stage]) -> None:
    stage, total = set_up(0.03), Account()
    prepared = stage.prepare(120, workers=WORKERS)

    together = stage.scene(prepared)
    runs = [together.start() for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    total.add(together.account(1))
    scene = stage.scene(prepared)
    killed, left = (scene.start(ORCHESTRATE_LEASE_S="1") for _ in range(2))
    scene.until_stored(60)
    killed.send(signal.SIGKILL)
    assert (killed.wait(), left.wait()) == (-signal.SIGKILL, 0)
    total.add(scene.account(1))

    line("F18 two runs on one database, one killed", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (2, 2, 0, 0)
    assert max(total.repeated, default=0) <= WORKERS
    assert together.rows("SELECT count(DISTINCT run_id) FROM turns") == [(2,)]


@pytest.mark.slow
def test_other_versions_are_refused_unharmed(set_up: Callable[[float], Stage], tmp_path: Path) -> None:
    stage, total = set_up(0.02), Account()
    prepared = stage.prepare(40, workers=WORKERS)
    later = tmp_path / "migrations"
    shutil.copytree(migrations(), later, ignore=shutil.ignore_patterns("__pycache__"))
    head = schema.head(later)
    (later / "versions" / "m9999_later.py").write_text(LATER.format(head=head))

    older = begun(stage, prepared)
    schema.downgrade(older.database, migrations(), "-1")
    before = contents(older.database)
    assert "orchestrate db upgrade" in older.run(code=1)
    assert contents(older.database) == before
    older.run("db", "upgrade")
    older.run()
    total.add(older.account())
    newer = begun(stage, prepared)
    schema.upgrade(newer.database, later)
    before = contents(newer.database)
    assert "install a newer version" in newer.run(code=1)
    assert contents(newer.database) == before
    schema.downgrade(newer.database, later, "-1")
    newer.run()
    total.add(newer.account())

    line("F18 a database of the version before, and of the version after", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (2, 2, 0, 0)
    assert max(total.repeated, default=0) <= WORKERS
