"""docs/reference/schema.md: tables, constraints, indexes and views, from the metadata and from a fresh database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

from orchestrator.assets import migrations
from orchestrator.domain import Turn, Usage
from orchestrator.store import run_tables, schema, tables
from scripts.reference.comments import column_meanings, field_meanings
from scripts.reference.markdown import block, document, mark, table

_ORDER = (
    *("jobs", "tasks", "turns", "attempts", "verdicts"),
    *("runs", "swaps", "endpoints", "turn_rates", "load_rates", "predictions"),
)
_ABOUT: Mapping[str, str] = {
    "jobs": "One row for each revision of a record.",
    "tasks": "One row for each job under each digest: the task table, which is the checkpoint.",
    "turns": "One row for each finished turn. Rows are added and never changed.",
    "attempts": "One row for each failed attempt. Rows are added and never changed.",
    "verdicts": "At most one row for each task, written together with the judge's turn.",
    "runs": "One row for each invocation of `process-pending`.",
    "swaps": "One row for each load of a model.",
    "turn_rates": "What turns took, one row for each role at each number in flight that a run or a probe measured.",
    "load_rates": "What loading models took, one row for each model that a run or a probe measured.",
    "predictions": "What was said of a run before it began: one row for each endpoint, and one for all of it.",
    "endpoints": "What the runs agreed that an endpoint has loaded, where it cannot hold all models at once.",
}
_INTRO = """\
The database is one SQLite file and a public interface: open it with any SQLite tool, while a run goes on or after it.
Read it; leave writing to `orchestrate`. Ask the views where they suffice: they spare you the joins. Times are UTC text
of fixed width (`2026-11-21T10:50:00.000000Z`), so text order is time order. `orchestrate db check` says which version
of the schema a file has; `orchestrate db upgrade` moves it forward and keeps a copy."""
_QUERIES: Mapping[str, str] = {
    "How are the verdicts spread, in each version of the debate?": """\
SELECT debate, digest, label, count(*) AS verdicts, round(avg(score), 1) AS mean_score
FROM v_verdicts
WHERE status = 'done'
GROUP BY debate, digest, label
ORDER BY debate, digest, mean_score;""",
    "Which verdicts rest on quotes that are not in their record?": """\
SELECT key, score, label, quotes_verified, quotes_total
FROM v_verdicts
WHERE status = 'done' AND quotes_verified < quotes_total
ORDER BY quotes_total - quotes_verified DESC, key;""",
    "What went wrong, on which endpoint and with which model?": """\
SELECT error_class, endpoint, model, role, count(*) AS attempts, count(DISTINCT task_id) AS tasks
FROM v_failures
GROUP BY error_class, endpoint, model, role
ORDER BY attempts DESC;""",
}


def page() -> str:
    """The page."""
    meanings = column_meanings(tables) | column_meanings(run_tables)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.db"
        schema.upgrade(path, migrations())
        with closing(sqlite3.connect(path)) as fresh:
            views, queries = _views(fresh), _queries(fresh)
    return document(
        "The database",
        _INTRO,
        f"This is schema `{schema.head(migrations())}`.",
        "## Views",
        *views,
        "## Three questions",
        *queries,
        "## Tables",
        *(_section(tables.metadata.tables[name], meanings) for name in _ORDER),
    )


def _views(fresh: sqlite3.Connection) -> list[str]:
    parts = []
    for name, sql in fresh.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY name DESC"):
        comment = next(line.strip() for line in sql.splitlines() if line.strip().startswith("--"))
        columns = [mark(row[1]) for row in fresh.execute(f"PRAGMA table_info({name})")]
        parts += [f"### {name}", comment.removeprefix("--").strip(), f"Columns: {', '.join(columns)}."]
    return parts


def _queries(fresh: sqlite3.Connection) -> list[str]:
    parts = []
    for question, query in _QUERIES.items():
        fresh.execute(query)  # a query that the schema does not take is an error here
        parts += [question, block("sql", query)]
    return parts


def _section(owner: Table, meanings: Mapping[tuple[str, str], str]) -> str:
    rows = [[mark(column.name), _kind(column), _meaning(column, meanings)] for column in owner.columns]
    parts = [f"### {owner.name}", _ABOUT[owner.name], table(["column", "type", "meaning"], rows)]
    if rules := _rules(owner):
        parts.append("\n".join(f"- {rule}" for rule in rules))
    return "\n\n".join(parts)


def _kind(column: Column[object]) -> str:
    kind = column.type.compile(dialect=sqlite.dialect())
    return kind if column.nullable else f"{kind} not null"


def _meaning(column: Column[object], meanings: Mapping[tuple[str, str], str]) -> str:
    name = column.table.name
    said = meanings.get((name, column.name), "")
    if not said and name == "turns":
        said = (field_meanings(Turn) | field_meanings(Usage)).get(column.name, "")
    parts = [said] if said else []
    parts += ["primary key"] if column.primary_key else []
    parts += [f"refers to `{_target(key)}`" for key in column.foreign_keys]
    return "; ".join(parts)


def _target(key: ForeignKey) -> str:
    return key.target_fullname


def _rules(owner: Table) -> list[str]:
    unique = sorted(
        ", ".join(column.name for column in each.columns)
        for each in owner.constraints
        if isinstance(each, UniqueConstraint)
    )
    constraints = [*owner.constraints, *(each for column in owner.columns for each in column.constraints)]
    checks = sorted(str(each.sqltext) for each in constraints if isinstance(each, CheckConstraint))
    indexes = sorted(owner.indexes, key=lambda index: str(index.name))
    return [
        *(f"unique: {mark(columns)}" for columns in unique),
        *(f"check: {mark(check)}" for check in checks),
        *(f"index {mark(str(index.name))}: {mark(_index(index))}" for index in indexes),
    ]


def _index(index: Index) -> str:
    statement = str(CreateIndex(index).compile(dialect=sqlite.dialect()))
    return statement.split(" ON ", 1)[1].strip()
