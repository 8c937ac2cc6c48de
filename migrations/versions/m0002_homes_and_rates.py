"""Tasks remember which endpoint should speak next; runs keep what they measured and what was predicted of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "m0002"
down_revision = "m0001"
branch_labels = None
depends_on = None

Change = tuple[str, str]  # a text in the definition of a table, and what stands there afterwards

_TASKS: Sequence[Change] = (
    ("\tfresh INTEGER NOT NULL, \n", "\tfresh INTEGER NOT NULL, \n\thome TEXT DEFAULT '' NOT NULL, \n"),
    (
        "\tCONSTRAINT ck_tasks_attempts ",
        "\tCONSTRAINT ck_tasks_home_unless_done CHECK (home = '' OR status <> 'done'), \n"
        "\tCONSTRAINT ck_tasks_attempts ",
    ),
)
_RUNS: Sequence[Change] = (("(max_workers >= 1)", "(max_workers >= 0)"),)

_TURN_RATES_CHECKS = {
    "role": "role IN ('advocate', 'critic', 'judge')",
    "in_flight": "in_flight >= 1",
    "turns": "turns >= 1",
    "seconds": "seconds >= 0 AND squares >= 0",
    "tokens": "prompt_tokens >= 0 AND cached_tokens >= 0 AND reply_tokens >= 0",
}
_LOAD_RATES_CHECKS = {
    "loads": "loads >= 1",
    "seconds": "seconds >= 0",
}
_PREDICTIONS_CHECKS = {
    "counts": "turns >= 0 AND loads >= 0",
    "seconds": "seconds >= 0",
    "interval": "low >= 0 AND low <= high",
    "first_verdict": "first_verdict >= 0",
}


def upgrade() -> None:
    """Rebuild tasks and runs, with their rows; create the tables of rates and predictions."""
    views = _without_views()
    _rebuild("runs", _RUNS, {})
    _rebuild("tasks", _TASKS, {"home": "''"})
    op.create_index(
        "tasks_claim",
        "tasks",
        ["digest", "next_model", "fresh", "home", sa.text("priority DESC"), "id"],
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "tasks_claim_mine",
        "tasks",
        ["run_id", "digest", "next_model", "fresh", "home", sa.text("priority DESC"), "id", "next_role", "next_round"],
        sqlite_where=sa.text("status = 'pending' AND run_id IS NOT NULL"),
    )
    op.create_index("tasks_home", "tasks", ["home"], sqlite_where=sa.text("status = 'pending' AND home > ''"))
    op.create_index(
        "tasks_status",
        "tasks",
        ["debate", "digest", "status", "next_role", "next_round", "next_model", "fresh", "priority", "home"],
    )
    op.drop_index("turns_run", "turns")
    op.create_index(
        "turns_run",
        "turns",
        ["run_id", "endpoint", "role", "model", "prompt_tokens", "reply_tokens", "total_s", "task_id"],
    )
    _create_turn_rates()
    _create_load_rates()
    _create_predictions()
    _run_all(views)


def downgrade() -> None:
    """Forget homes, rates and predictions; runs that chose their workers by themselves had one."""
    views = _without_views()
    for table in ("predictions", "load_rates", "turn_rates"):
        op.drop_table(table)
    op.drop_index("tasks_home", "tasks")
    _rebuild("runs", [(new, old) for old, new in _RUNS], {"max_workers": "max(max_workers, 1)"})
    _rebuild("tasks", [(new, old) for old, new in _TASKS], {})
    op.create_index(
        "tasks_claim",
        "tasks",
        ["digest", "next_model", "fresh", sa.text("priority DESC"), "id"],
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "tasks_claim_mine",
        "tasks",
        ["run_id", "digest", "next_model", "fresh", sa.text("priority DESC"), "id"],
        sqlite_where=sa.text("status = 'pending' AND run_id IS NOT NULL"),
    )
    op.create_index("tasks_status", "tasks", ["debate", "digest", "status", "next_role", "next_round", "next_model"])
    op.drop_index("turns_run", "turns")
    op.create_index(
        "turns_run",
        "turns",
        ["run_id", "role", "model", "prompt_tokens", "reply_tokens", "total_s", "task_id"],
    )
    _run_all(views)


_REPLACED = ("tasks_claim", "tasks_claim_mine", "tasks_status")


def _definitions(kind: str, table: str | None = None) -> list[tuple[str, str]]:
    rows = op.get_bind().exec_driver_sql("SELECT name, sql, type, tbl_name FROM sqlite_master WHERE sql IS NOT NULL")
    return [(name, sql) for name, sql, type_, owner in rows if type_ == kind and table in (None, owner)]


def _without_views() -> list[str]:
    """Drop the views, which forbid to rename a table under them; their definitions, to create them again."""
    views = _definitions("view")
    for name, _ in views:
        op.execute(f"DROP VIEW {name}")
    return [sql for _, sql in views]


def _rebuild(table: str, changes: Sequence[Change], filled: Mapping[str, str]) -> None:
    """Put a table with a changed definition in the place of the old one: SQLite changes no constraint of a table.

    Alembic's batch mode does the same, but loses the CHECKs, which are not reflected. `filled` gives the columns that
    are not copied as they are. Indexes come back, those of `_REPLACED` excepted.
    """
    ((_, definition),) = _definitions("table", table)
    for old, new in changes:
        if definition.count(old) != 1:
            raise ValueError(f"the table {table} is not as m0001 or m0002 made it: {old!r} is not in it once")
        definition = definition.replace(old, new)
    indexes = [sql for name, sql in _definitions("index", table) if name not in _REPLACED]
    _run_all([re.sub(rf'^CREATE TABLE "?{table}"?', f"CREATE TABLE new_{table}", definition)])
    names = [row[1] for row in op.get_bind().exec_driver_sql(f"PRAGMA table_info(new_{table})")]
    values = [filled.get(name, name) for name in names]
    op.execute(f"INSERT INTO new_{table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {table}")  # noqa: S608
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE new_{table} RENAME TO {table}")
    _run_all(indexes)


def _run_all(statements: Sequence[str]) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)


def _checks(table: str, checks: Mapping[str, str]) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in checks.items()]


def _create_turn_rates() -> None:
    op.create_table(
        "turn_rates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("measured_at", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("squares", sa.Float(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("reply_tokens", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn_rates")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_turn_rates_run_id")),
        *_checks("turn_rates", _TURN_RATES_CHECKS),
    )


def _create_load_rates() -> None:
    op.create_table(
        "load_rates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("measured_at", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.Text(), nullable=False),
        sa.Column("loads", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_load_rates")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_load_rates_run_id")),
        *_checks("load_rates", _LOAD_RATES_CHECKS),
    )


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("loads", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("first_verdict", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "endpoint", name=op.f("pk_predictions")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_predictions_run_id")),
        *_checks("predictions", _PREDICTIONS_CHECKS),
    )
