"""The tables as SQLAlchemy knows them. SQLite is a public interface: every column says what it means.

`migrations/` writes the same tables out in full; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text

from orchestrator.domain import Backend, Role, TaskStatus
from orchestrator.errors import ErrorClass, Guard
from orchestrator.store.columns import UtcTime, one_of
from orchestrator.store.columns import metadata as metadata
from orchestrator.store.run_tables import runs

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
    Column("home", Text, nullable=False, server_default=""),  # endpoint that should speak next; empty: any may
    Column("priority", Integer, nullable=False),  # higher is claimed first
    Column("attempts", Integer, nullable=False),  # tries at the next role so far
    Column("token", Integer, nullable=False),  # grows with each claim; a write under an older one is refused
    Column("run_id", ForeignKey(runs.c.id)),  # the last run that held it
    Column("endpoint", Text),  # where it is leased
    Column("leased_until", UtcTime),
    Column("not_before", UtcTime),  # backing off until then
    Column("error_class", Text),  # of its last failed attempt; null after a turn
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),  # of its last move; a lease's beginning
    Column("finished_at", UtcTime),  # set unless pending or leased
    UniqueConstraint("job_id", "digest", name="job_id_digest"),
    one_of("status", TaskStatus),
    one_of("next_role", Role),
    one_of("error_class", ErrorClass),
    CheckConstraint("next_round >= 1", name="next_round"),
    CheckConstraint("fresh IN (0, 1)", name="fresh"),
    CheckConstraint("home = '' OR status <> 'done'", name="home_unless_done"),
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
    tasks.c.home,
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
    tasks.c.home,
    tasks.c.priority.desc(),
    tasks.c.id,
    tasks.c.next_role,  # these two make counting what a run held last a walk of this index alone
    tasks.c.next_round,
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
Index("tasks_home", tasks.c.home, sqlite_where=text("status = 'pending' AND home > ''"))
Index("tasks_leased_endpoint", tasks.c.endpoint, sqlite_where=text("status = 'leased'"))
# In this order, and with all of these, waiting turns are counted by walking it: no row is read, nothing is sorted.
Index(
    "tasks_status",
    tasks.c.debate,
    tasks.c.digest,
    tasks.c.status,
    tasks.c.next_role,
    tasks.c.next_round,
    tasks.c.next_model,
    tasks.c.fresh,
    tasks.c.priority,
    tasks.c.home,
)
Index("tasks_failed", tasks.c.debate, tasks.c.error_class, sqlite_where=text("status = 'failed'"))

turns = Table(
    "turns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("run_id", ForeignKey(runs.c.id), nullable=False),
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
    Column("marks", Text, nullable=False, server_default=""),  # what its reply came in; which fallback spoke it
    UniqueConstraint("task_id", "role", "round", name="task_id_role_round"),
    one_of("role", Role),
    one_of("backend", Backend),
    CheckConstraint("round >= 1", name="round"),
    CheckConstraint("asks >= 1", name="asks"),
    CheckConstraint("attempt >= 1", name="attempt"),
    CheckConstraint("quotes_verified BETWEEN 0 AND quotes_total", name="quotes"),
)
Index(
    "turns_run",
    turns.c.run_id,
    turns.c.endpoint,
    turns.c.role,
    turns.c.model,
    turns.c.prompt_tokens,
    turns.c.reply_tokens,
    turns.c.total_s,
    turns.c.task_id,
)
Index("turns_marked", turns.c.marks, turns.c.task_id, sqlite_where=text("marks > ''"))

_GUARD = one_of("guard", ("", *Guard))
_ASKS = CheckConstraint("asks >= 1", name="asks")

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("run_id", ForeignKey(runs.c.id), nullable=False),
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
    # These two were added to a table that was there, so each has its check beside it.
    Column("guard", Text, _GUARD, nullable=False, server_default=""),  # check that refused the reply; empty: none did
    Column("asks", Integer, _ASKS, nullable=False, server_default="1"),  # calls of the model that it took
    one_of("role", Role),
    one_of("error_class", ErrorClass),
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
    Column("flags", Text, nullable=False, server_default=""),  # what to look at before believing it: outside, fallback
    UniqueConstraint("task_id", name="task_id"),
    UniqueConstraint("turn_id", name="turn_id"),
)
Index("verdicts_flagged", verdicts.c.flags, verdicts.c.task_id, sqlite_where=text("flags > ''"))
