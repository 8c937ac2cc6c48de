"""The tables as SQLAlchemy knows them. SQLite is a public interface: every column says what it means.

`migrations/` writes the same tables out in full; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

from orchestrator.domain import Backend, Role, RunStatus, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.store.codec import time_of, time_text


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept as UTC text of fixed width; a time without a zone is refused."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write a time."""
        return None if value is None else time_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a time."""
        return None if value is None else time_of(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, words: Iterable[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", Text, nullable=False),  # where the key is unique: a file or a table
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False),  # from 1; a changed payload makes the next one
    Column("payload", Text, nullable=False),  # JSON object, fields in the order they came
    Column("payload_hash", Text, nullable=False),  # sha256 of the payload with its keys sorted
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("key", "source", "revision", name="key_source_revision"),
    CheckConstraint("revision >= 1", name="revision"),
    CheckConstraint("length(key) > 0", name="key"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("debate", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("next_role", Text),  # who speaks next; null once done
    Column("next_round", Integer),
    Column("next_model", Text),
    Column("fresh", Integer, nullable=False),  # 1 until its first turn is spoken
    Column("priority", Integer, nullable=False),  # higher is claimed first
    Column("attempts", Integer, nullable=False),  # tries at the next role so far
    Column("token", Integer, nullable=False),  # grows with each claim; a write under an older one is refused
    Column("run_id", ForeignKey("runs.id")),  # the last run that held it
    Column("endpoint", Text),  # where it is leased
    Column("leased_until", UtcTime),
    Column("not_before", UtcTime),  # backing off until then
    Column("error_class", Text),  # of its last failed attempt; null after a turn
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),  # of its last move; a lease's beginning
    Column("finished_at", UtcTime),  # set unless pending or leased
    UniqueConstraint("job_id", "digest", name="job_id_digest"),
    _one_of("status", TaskStatus),
    _one_of("next_role", Role),
    _one_of("error_class", ErrorClass),
    CheckConstraint("next_round >= 1", name="next_round"),
    CheckConstraint("fresh IN (0, 1)", name="fresh"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("token >= 0", name="token"),
    CheckConstraint("(next_role IS NULL) = (status = 'done')", name="next_role_unless_done"),
    CheckConstraint("(next_model IS NULL) = (next_role IS NULL)", name="next_model_with_role"),
    CheckConstraint("(next_round IS NULL) = (next_role IS NULL)", name="next_round_with_role"),
    CheckConstraint("(leased_until IS NOT NULL) = (status = 'leased')", name="leased_until_if_leased"),
    CheckConstraint("(endpoint IS NOT NULL) = (status = 'leased')", name="endpoint_if_leased"),
    CheckConstraint("status <> 'leased' OR (run_id IS NOT NULL AND attempts >= 1)", name="run_if_leased"),
    CheckConstraint("not_before IS NULL OR status = 'pending'", name="not_before_only_pending"),
    CheckConstraint("(finished_at IS NULL) = (status IN ('pending', 'leased'))", name="finished_at_if_finished"),
    CheckConstraint("status <> 'failed' OR error_class IS NOT NULL", name="error_class_if_failed"),
)

Index(
    "tasks_claim",
    tasks.c.digest,
    tasks.c.next_model,
    tasks.c.fresh,
    tasks.c.priority.desc(),
    tasks.c.id,
    sqlite_where=text("status = 'pending'"),
)
Index(
    "tasks_claim_mine",
    tasks.c.run_id,
    tasks.c.digest,
    tasks.c.next_model,
    tasks.c.fresh,
    tasks.c.priority.desc(),
    tasks.c.id,
    sqlite_where=text("status = 'pending' AND run_id IS NOT NULL"),
)
Index(
    "tasks_backing_off",
    tasks.c.digest,
    tasks.c.next_model,
    tasks.c.fresh,
    tasks.c.not_before,
    sqlite_where=text("not_before IS NOT NULL"),
)
# A rescue walks this one too: never more rows than turns in flight, so `leased_until` needs none of its own.
Index("tasks_leased_run", tasks.c.run_id, sqlite_where=text("status = 'leased'"))
Index("tasks_leased_endpoint", tasks.c.endpoint, sqlite_where=text("status = 'leased'"))
Index(
    "tasks_status",
    tasks.c.debate,
    tasks.c.digest,
    tasks.c.status,
    tasks.c.next_role,
    tasks.c.next_round,
    tasks.c.next_model,
)
Index("tasks_failed", tasks.c.debate, tasks.c.error_class, sqlite_where=text("status = 'failed'"))

turns = Table(
    "turns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("token", Integer, nullable=False),  # of the claim it was spoken under
    Column("role", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("quotes_total", Integer, nullable=False),
    Column("quotes_verified", Integer, nullable=False),
    Column("prompt_hash", Text, nullable=False),
    Column("asks", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("prompt_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("reply_tokens", Integer),
    Column("load_s", Float),
    Column("prompt_s", Float),
    Column("reply_s", Float),
    Column("total_s", Float, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    # The long ones come last: SQLite reads a row from its beginning.
    Column("text", Text, nullable=False),  # as the model wrote it
    Column("reply", Text, nullable=False),  # JSON object: the text, parsed and validated
    Column("quotes", Text, nullable=False),  # JSON list of {"text": …, "verified": …}
    UniqueConstraint("task_id", "role", "round", name="task_id_role_round"),
    _one_of("role", Role),
    _one_of("backend", Backend),
    CheckConstraint("round >= 1", name="round"),
    CheckConstraint("asks >= 1", name="asks"),
    CheckConstraint("attempt >= 1", name="attempt"),
    CheckConstraint("quotes_verified BETWEEN 0 AND quotes_total", name="quotes"),
)
Index(
    "turns_run",
    turns.c.run_id,
    turns.c.role,
    turns.c.model,
    turns.c.prompt_tokens,
    turns.c.reply_tokens,
    turns.c.total_s,
    turns.c.task_id,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("token", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("reply", Text, nullable=False),  # what the server did say; may be empty
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    _one_of("role", Role),
    _one_of("error_class", ErrorClass),
    CheckConstraint("round >= 1", name="round"),
    CheckConstraint("attempt >= 1", name="attempt"),
)
Index("attempts_task", attempts.c.task_id)
Index("attempts_run", attempts.c.run_id)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("score", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("turn_id", ForeignKey("turns.id"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("task_id", name="task_id"),
    UniqueConstraint("turn_id", name="turn_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lock", Text, nullable=False),  # name of the file whose lock it holds while alive
    Column("max_workers", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    _one_of("status", RunStatus),
    CheckConstraint("max_workers >= 1", name="max_workers"),
    CheckConstraint("(ended_at IS NULL) = (status = 'running')", name="ended_at_unless_running"),
)

swaps = Table(
    "swaps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("unloaded", Text, nullable=False),  # JSON list of models
    Column("loaded", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("at", UtcTime, nullable=False),
    CheckConstraint("seconds >= 0", name="seconds"),
)
Index("swaps_run", swaps.c.run_id)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("loaded", Text, nullable=False),  # JSON list of models; empty while a swap is under way
    Column("version", Integer, nullable=False),
    Column("run_id", ForeignKey("runs.id")),  # who swaps
    Column("swap_until", UtcTime),
    CheckConstraint("version >= 0", name="version"),
    CheckConstraint("(run_id IS NULL) = (swap_until IS NULL)", name="swap_until_with_run"),
)
