"""The first tables, and two views for people who open the file with another tool."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "m0001"
down_revision = None
branch_labels = None
depends_on = None

# Marks the file as ours: `PRAGMA application_id` reads "Debt".
_APPLICATION_ID = 0x44656274

_ROLES = "('advocate', 'critic', 'judge')"
_ERROR_CLASSES = (
    "('transient', 'capacity', 'overflow', 'shape', 'refusal', 'deterministic', 'configuration', 'lost', 'cancelled')"
)

_RUNS_CHECKS = {
    "status": "status IN ('running', 'done', 'interrupted', 'failed', 'lost')",
    "max_workers": "max_workers >= 1",
    "ended_at_unless_running": "(ended_at IS NULL) = (status = 'running')",
}
_JOBS_CHECKS = {
    "revision": "revision >= 1",
    "key": "length(key) > 0",
}
_TASKS_CHECKS = {
    "status": "status IN ('pending', 'leased', 'done', 'failed', 'cancelled', 'superseded')",
    "next_role": f"next_role IN {_ROLES}",
    "error_class": f"error_class IN {_ERROR_CLASSES}",
    "next_round": "next_round >= 1",
    "fresh": "fresh IN (0, 1)",
    "attempts": "attempts >= 0",
    "token": "token >= 0",
    "next_role_unless_done": "(next_role IS NULL) = (status = 'done')",
    "next_model_with_role": "(next_model IS NULL) = (next_role IS NULL)",
    "next_round_with_role": "(next_round IS NULL) = (next_role IS NULL)",
    "leased_until_if_leased": "(leased_until IS NOT NULL) = (status = 'leased')",
    "endpoint_if_leased": "(endpoint IS NOT NULL) = (status = 'leased')",
    "run_if_leased": "status <> 'leased' OR (run_id IS NOT NULL AND attempts >= 1)",
    "not_before_only_pending": "not_before IS NULL OR status = 'pending'",
    "finished_at_if_finished": "(finished_at IS NULL) = (status IN ('pending', 'leased'))",
    "error_class_if_failed": "status <> 'failed' OR error_class IS NOT NULL",
}
_TURNS_CHECKS = {
    "role": f"role IN {_ROLES}",
    "backend": "backend IN ('ollama', 'vllm', 'llamacpp', 'rehearsal')",
    "round": "round >= 1",
    "asks": "asks >= 1",
    "attempt": "attempt >= 1",
    "quotes": "quotes_verified BETWEEN 0 AND quotes_total",
}
_ATTEMPTS_CHECKS = {
    "role": f"role IN {_ROLES}",
    "error_class": f"error_class IN {_ERROR_CLASSES}",
    "round": "round >= 1",
    "attempt": "attempt >= 1",
}
_SWAPS_CHECKS = {
    "seconds": "seconds >= 0",
}
_ENDPOINTS_CHECKS = {
    "version": "version >= 0",
    "swap_until_with_run": "(run_id IS NULL) = (swap_until IS NULL)",
}

_V_VERDICTS = """
CREATE VIEW v_verdicts AS
-- One row for each task that was not superseded; score and label are null until it is done, error_class says why not.
SELECT
    tasks.id AS task_id, jobs.source, jobs.key, jobs.revision, tasks.debate, tasks.digest, tasks.status,
    verdicts.score, verdicts.label, tasks.error_class,
    json_extract(judge.reply, '$.analysis') AS analysis,
    coalesce((SELECT sum(quotes_verified) FROM turns WHERE turns.task_id = tasks.id), 0) AS quotes_verified,
    coalesce((SELECT sum(quotes_total) FROM turns WHERE turns.task_id = tasks.id), 0) AS quotes_total,
    (SELECT group_concat(DISTINCT backend) FROM turns WHERE turns.task_id = tasks.id) AS backends,
    judge.model AS judge_model,
    (SELECT count(*) FROM turns WHERE turns.task_id = tasks.id) AS turns,
    tasks.finished_at, jobs.payload
FROM tasks
JOIN jobs ON jobs.id = tasks.job_id
LEFT JOIN verdicts ON verdicts.task_id = tasks.id
LEFT JOIN turns AS judge ON judge.id = verdicts.turn_id
WHERE tasks.status <> 'superseded'
"""
_V_FAILURES = """
CREATE VIEW v_failures AS
-- One row for each failed attempt; status is where its task stands today.
SELECT
    attempts.id AS attempt_id, attempts.task_id, jobs.source, jobs.key, jobs.revision, tasks.debate, tasks.digest,
    tasks.status, attempts.role, attempts.round, attempts.model, attempts.attempt, attempts.endpoint,
    attempts.error_class, attempts.error, attempts.reply, attempts.started_at, attempts.finished_at
FROM attempts
JOIN tasks ON tasks.id = attempts.task_id
JOIN jobs ON jobs.id = tasks.job_id
"""
_TABLES = ("endpoints", "swaps", "verdicts", "attempts", "turns", "tasks", "jobs", "runs")


def upgrade() -> None:
    """Create everything."""
    _create_runs()
    _create_jobs()
    _create_tasks()
    _index_tasks()
    _create_turns()
    _create_attempts()
    _create_verdicts()
    _create_swaps()
    _create_endpoints()
    op.execute(_V_VERDICTS)
    op.execute(_V_FAILURES)
    op.execute(f"PRAGMA application_id = {_APPLICATION_ID}")


def downgrade() -> None:
    """Drop everything: before the first tables there is nothing to keep data in."""
    op.execute("DROP VIEW v_failures")
    op.execute("DROP VIEW v_verdicts")
    for table in _TABLES:
        op.drop_table(table)
    op.execute("PRAGMA application_id = 0")


def _checks(table: str, checks: Mapping[str, str]) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in checks.items()]


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("lock", sa.Text(), nullable=False),
        sa.Column("max_workers", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        *_checks("runs", _RUNS_CHECKS),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("payload_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("key", "source", "revision", name=op.f("uq_jobs_key_source_revision")),
        *_checks("jobs", _JOBS_CHECKS),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("debate", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("next_role", sa.Text(), nullable=True),
        sa.Column("next_round", sa.Integer(), nullable=True),
        sa.Column("next_model", sa.Text(), nullable=True),
        sa.Column("fresh", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.Text(), nullable=True),
        sa.Column("not_before", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_tasks_job_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_tasks_run_id")),
        sa.UniqueConstraint("job_id", "digest", name=op.f("uq_tasks_job_id_digest")),
        *_checks("tasks", _TASKS_CHECKS),
    )


def _index_tasks() -> None:
    op.create_index(
        "tasks_backing_off",
        "tasks",
        ["digest", "next_model", "fresh", "not_before"],
        sqlite_where=sa.text("not_before IS NOT NULL"),
    )
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
    op.create_index("tasks_failed", "tasks", ["debate", "error_class"], sqlite_where=sa.text("status = 'failed'"))
    op.create_index("tasks_leased_endpoint", "tasks", ["endpoint"], sqlite_where=sa.text("status = 'leased'"))
    op.create_index("tasks_leased_run", "tasks", ["run_id"], sqlite_where=sa.text("status = 'leased'"))
    op.create_index("tasks_status", "tasks", ["debate", "digest", "status", "next_role", "next_round", "next_model"])


def _create_turns() -> None:
    op.create_table(
        "turns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("quotes_total", sa.Integer(), nullable=False),
        sa.Column("quotes_verified", sa.Integer(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("asks", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("cached_tokens", sa.Integer(), nullable=True),
        sa.Column("reply_tokens", sa.Integer(), nullable=True),
        sa.Column("load_s", sa.Float(), nullable=True),
        sa.Column("prompt_s", sa.Float(), nullable=True),
        sa.Column("reply_s", sa.Float(), nullable=True),
        sa.Column("total_s", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("quotes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_turns_task_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_turns_run_id")),
        sa.UniqueConstraint("task_id", "role", "round", name=op.f("uq_turns_task_id_role_round")),
        *_checks("turns", _TURNS_CHECKS),
    )
    op.create_index(
        "turns_run",
        "turns",
        ["run_id", "role", "model", "prompt_tokens", "reply_tokens", "total_s", "task_id"],
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_attempts_task_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        *_checks("attempts", _ATTEMPTS_CHECKS),
    )
    op.create_index("attempts_run", "attempts", ["run_id"])
    op.create_index("attempts_task", "attempts", ["task_id"])


def _create_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_verdicts_task_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_verdicts_turn_id")),
        sa.UniqueConstraint("task_id", name=op.f("uq_verdicts_task_id")),
        sa.UniqueConstraint("turn_id", name=op.f("uq_verdicts_turn_id")),
    )


def _create_swaps() -> None:
    op.create_table(
        "swaps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("unloaded", sa.Text(), nullable=False),
        sa.Column("loaded", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_swaps")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_swaps_run_id")),
        *_checks("swaps", _SWAPS_CHECKS),
    )
    op.create_index("swaps_run", "swaps", ["run_id"])


def _create_endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("loaded", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("swap_until", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_endpoints")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_endpoints_run_id")),
        *_checks("endpoints", _ENDPOINTS_CHECKS),
    )
