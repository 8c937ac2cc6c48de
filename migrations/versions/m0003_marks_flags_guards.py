"""Turns keep what their reply came wrapped in, verdicts what to look at, failed attempts which check refused them."""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

revision = "m0003"
down_revision = "m0002"
branch_labels = None
depends_on = None

# SQLite puts a new column behind the others without touching a row, however large the table is.
_COLUMNS: Sequence[tuple[str, str, str]] = (
    ("turns", "marks", "TEXT DEFAULT '' NOT NULL"),
    ("verdicts", "flags", "TEXT DEFAULT '' NOT NULL"),
    (
        "attempts",
        "guard",
        "TEXT DEFAULT '' NOT NULL CONSTRAINT ck_attempts_guard"
        " CHECK (guard IN ('', 'truncation', 'completeness', 'shape', 'contradiction'))",
    ),
    ("attempts", "asks", "INTEGER DEFAULT '1' NOT NULL CONSTRAINT ck_attempts_asks CHECK (asks >= 1)"),
)
_INDEXES = (("turns_marked", "turns", "marks"), ("verdicts_flagged", "verdicts", "flags"))
_VIEWS = (
    ("v_verdicts", "verdicts.label, tasks.error_class", "verdicts.label, verdicts.flags, tasks.error_class"),
    ("v_failures", "attempts.error_class, attempts.error,", "attempts.error_class, attempts.guard, attempts.error,"),
    ("v_failures", "attempts.error, attempts.reply,", "attempts.error, attempts.asks, attempts.reply,"),
)


def upgrade() -> None:
    """Add the columns, their indexes, and show them in the views."""
    for table, column, definition in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
    for index, table, column in _INDEXES:
        op.execute(f"CREATE INDEX {index} ON {table} ({column}, task_id) WHERE {column} > ''")
    for view, old, new in _VIEWS:
        _change_view(view, old, new)


def downgrade() -> None:
    """Forget them."""
    for view, old, new in reversed(_VIEWS):
        _change_view(view, new, old)
    for index, _, _ in _INDEXES:
        op.execute(f"DROP INDEX {index}")
    for table, column, _ in reversed(_COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


def _change_view(view: str, old: str, new: str) -> None:
    """Put a view with one changed text in the place of the old one."""
    connection = op.get_bind()
    definition = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (view,)).scalar_one()
    if definition.count(old) != 1:
        raise ValueError(f"the view {view} is not as earlier revisions made it: {old!r} is not in it once")
    connection.exec_driver_sql(f"DROP VIEW {view}")
    connection.exec_driver_sql(definition.replace(old, new))
