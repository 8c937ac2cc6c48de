"""The schema moves forward and back, in one piece, and only in databases that are ours."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from orchestrator.errors import SchemaError, StoreError
from orchestrator.ports import RunStart
from orchestrator.store import schema
from orchestrator.store.codec import time_text
from orchestrator.store.tables import metadata
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import (
    ENDPOINT,
    MIGRATIONS,
    at,
    begin,
    claim_one,
    drafts,
    finish,
    prediction,
    spoken,
    submission,
)

HEAD = "m0003"
NEW_TABLES = {"turn_rates", "load_rates", "predictions"}  # of m0002
NEW_COLUMNS: dict[str, dict[str, Any]] = {  # of m0003
    "turns": {"marks": ""},
    "verdicts": {"flags": ""},
    "attempts": {"guard": "", "asks": 1},
}
NEXT = """
from alembic import op
revision, down_revision = "m0004", "m0003"
def upgrade():
    op.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
    op.execute("{statement}")
def downgrade():
    op.execute("DROP TABLE notes")
"""


def with_next(folder: Path, statement: str = "INSERT INTO notes VALUES (1)") -> Path:
    """The migrations and one more, as a later version of this program would have them."""
    migrations = folder / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "m0004_notes.py").write_text(NEXT.replace("{statement}", statement))
    return migrations


OLD_ROWS = """
INSERT INTO runs VALUES (7, 'here', 1, 'run.lock', 4, 'running', '', '{at}', NULL);
INSERT INTO jobs VALUES (1, 'jobs.jsonl', 'a', 1, '{{}}', '', '{at}'), (2, 'jobs.jsonl', 'b', 1, '{{}}', '', '{at}');
INSERT INTO tasks VALUES
    (11, 1, 'jobs', 'digest-a', 'done', NULL, NULL, NULL, 0, 5, 0, 3, 7, NULL, NULL, NULL, NULL,
        '{at}', '{at}', '{at}'),
    (12, 2, 'jobs', 'digest-a', 'leased', 'critic', 1, 'gemma', 0, 5, 1, 3, 7, 'http://here', '{at}', NULL, NULL,
        '{at}', '{at}', NULL);
INSERT INTO turns VALUES (21, 11, 7, 3, 'judge', 1, 'qwen', 'ollama', 'http://here', 0, 0, '', 1, 1, 900, 0, 100,
    NULL, NULL, 2.0, 2.0, '{at}', '{at}', 'said', '{{}}', '[]');
INSERT INTO verdicts VALUES (31, 11, 7, 'apply', 21, '{at}');
INSERT INTO attempts VALUES (41, 12, 7, 2, 'critic', 1, 'gemma', 1, 'http://here', 'shape', 'no', '', '{at}', '{at}');
INSERT INTO swaps VALUES (51, 7, 'http://here', '[]', 'qwen', 2.5, '{at}');
INSERT INTO endpoints VALUES ('http://here', '["qwen"]', 3, NULL, NULL);
"""


def released(folder: Path, revision: str) -> Path:
    """The migrations as they were up to a revision."""
    migrations = folder / f"migrations-{revision}"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (migrations / "versions").glob("m*.py"):
        if file.name[:5] > revision:
            file.unlink()
    return migrations


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All that every table holds, by the names of its columns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
            for name in tables
            if name != "alembic_version"
        }


# A column that SQLite added stands in the line of the one before it.
_LINES = re.compile(r"\n|, (?=\w+ (?:TEXT|INTEGER|FLOAT)\b)")


def shape(path: Path) -> dict[str, list[str]]:
    """Every table, index and view with the sorted lines of its definition; a renamed table's name is in quotes."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {
        name: sorted(re.sub(r"\s+", " ", line).strip(" ,") for line in _LINES.split(sql.replace(f'"{name}"', name)))
        for name, sql in rows
        if name != "alembic_version"
    }


def test_up_down_up_gives_the_same_schema(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    assert schema.upgrade(path, MIGRATIONS)
    first = shape(path)

    schema.downgrade(path, MIGRATIONS, "base")
    assert shape(path) == {}
    assert not schema.check(path, MIGRATIONS).ok

    assert schema.upgrade(path, MIGRATIONS)
    assert shape(path) == first


@pytest.mark.parametrize("revision", ["m0001", "m0002"])
def test_every_step_is_taken_back(tmp_path: Path, revision: str) -> None:
    path, straight = tmp_path / "tasks.db", tmp_path / "straight.db"
    schema.upgrade(path, MIGRATIONS)
    newest = shape(path)
    schema.upgrade(straight, released(tmp_path, revision))

    schema.downgrade(path, MIGRATIONS, revision)
    assert shape(path) == shape(straight)

    assert schema.upgrade(path, MIGRATIONS)
    assert shape(path) == newest


def test_upgrade_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, released(tmp_path, "m0001"))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_ROWS.format(at=time_text(at(0))))
    before = rows(path)

    assert schema.upgrade(path, MIGRATIONS)

    assert schema.problems(path) == ()
    after = rows(path)
    assert [row.pop("home") for row in after["tasks"]] == ["", ""]
    for name, columns in NEW_COLUMNS.items():
        assert [{column: row.pop(column) for column in columns} for row in after[name]] == [columns]
    assert after == before | {"turn_rates": [], "load_rates": [], "predictions": []}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key, score, turns FROM v_verdicts").fetchall() == [
            ("a", 7, 1),
            ("b", None, 0),
        ]


def test_downgrade_keeps_what_fits_the_older(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, MIGRATIONS)
    store = SqlTaskStore(path)
    store.submit(submission(), drafts("a", "b"), at(0))
    run_id = store.begin_run(RunStart(host="here", pid=1, lock="run.lock", max_workers=0, started_at=at(0)))
    store.keep_predictions(run_id, [prediction()])
    store.record(spoken(claim_one(store, run_id), home=ENDPOINT), at(3))
    finish(store, run_id)
    store.close()
    before = rows(path)

    schema.downgrade(path, MIGRATIONS, "m0001")

    assert schema.problems(path) == ()
    kept = {name: found for name, found in before.items() if name not in NEW_TABLES}
    for name, columns in NEW_COLUMNS.items():
        kept[name] = [{column: row[column] for column in row.keys() - columns.keys()} for row in kept[name]]
    assert [row.pop("home") for row in kept["tasks"]] == [ENDPOINT, ""]
    assert rows(path) == kept | {"runs": [before["runs"][0] | {"max_workers": 1}]}


def test_new_database_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    assert schema.check(path, MIGRATIONS) == schema.SchemaState(current=None, head=HEAD, ok=False)

    assert schema.upgrade(path, MIGRATIONS)
    assert not schema.upgrade(path, MIGRATIONS)

    assert schema.check(path, MIGRATIONS) == schema.SchemaState(current=HEAD, head=HEAD, ok=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_migrations_and_metadata_do_not_drift(tmp_path: Path) -> None:
    migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
    schema.upgrade(migrated, MIGRATIONS)
    engine = create_engine(f"sqlite:///{created}")
    metadata.create_all(engine)
    engine.dispose()

    tables = {name: lines for name, lines in shape(migrated).items() if not name.startswith("v_")}
    assert tables == shape(created)


def test_alembic_finds_nothing_to_generate(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, MIGRATIONS)
    engine = create_engine(f"sqlite:///{path}")

    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)

    engine.dispose()
    assert found == []


def test_older_database_is_copied_before(tmp_path: Path) -> None:
    path, later = tmp_path / "tasks.db", with_next(tmp_path)
    schema.upgrade(path, MIGRATIONS)
    store = SqlTaskStore(path)
    store.submit(submission(), drafts("a"), at(0))
    finish(store, begin(store))

    assert schema.upgrade(path, later)

    copy = tmp_path / "tasks.db.bak-m0003"
    assert "notes" in shape(path)
    assert "notes" not in shape(copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT key, score FROM v_verdicts").fetchall() == [("a", 7)]
    store.close()


def test_failed_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, MIGRATIONS)
    before = shape(path)

    with pytest.raises(StoreError):
        schema.upgrade(path, with_next(tmp_path, "INSERT INTO nowhere VALUES (1)"))

    assert shape(path) == before
    assert schema.check(path, MIGRATIONS).ok


def test_one_step_down_keeps_the_rest(tmp_path: Path) -> None:
    path, later = tmp_path / "tasks.db", with_next(tmp_path)
    schema.upgrade(path, later)

    schema.downgrade(path, later, HEAD)

    assert schema.check(path, MIGRATIONS).ok
    assert (tmp_path / "tasks.db.bak-m0004").is_file()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, with_next(tmp_path))

    for move in (schema.check, schema.upgrade):
        with pytest.raises(SchemaError, match="has schema m0004, this program knows m0003: install a newer version"):
            move(path, MIGRATIONS)


@pytest.mark.parametrize("table", ["alembic_version (version_num)", "jobs (id)"])
def test_database_of_another_program_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table}")
        connection.execute("CREATE TABLE theirs (id)")

    with pytest.raises(SchemaError, match="is a database of another program"):
        schema.upgrade(path, MIGRATIONS)
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    path.write_text("key,title\n" * 1_000)

    with pytest.raises(StoreError, match="is not a SQLite database"):
        schema.upgrade(path, MIGRATIONS)
    assert path.read_text() == "key,title\n" * 1_000


def test_store_without_tables_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.touch()
    store = SqlTaskStore(path)

    with pytest.raises(SchemaError, match="run `orchestrate db upgrade`"):
        store.submit(submission(), drafts("a"), at(0))
    store.close()


def test_views_are_readable_by_any_tool(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    schema.upgrade(path, MIGRATIONS)

    views = {name: lines for name, lines in shape(path).items() if name.startswith("v_")}

    assert set(views) == {"v_verdicts", "v_failures"}
    assert all(any(line.startswith("-- One row for each") for line in lines) for lines in views.values())
