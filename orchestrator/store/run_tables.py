"""The tables of runs: what each one loaded, measured and was predicted to take, and what endpoints hold.

Written out in full in `migrations/` too, as those of `tables` are.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, Integer, Table, Text

from orchestrator.domain import Role, RunStatus
from orchestrator.store.columns import UtcTime, metadata, one_of

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lock", Text, nullable=False),  # name of the file whose lock it holds while alive
    Column("max_workers", Integer, nullable=False),  # 0: as many as the endpoints answer best with
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),  # why it ended; while it goes on, what holds it up: a paused endpoint
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    one_of("status", RunStatus),
    CheckConstraint("max_workers >= 0", name="max_workers"),
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

turn_rates = Table(
    "turn_rates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id")),  # null for a probe of no run
    Column("measured_at", UtcTime, nullable=False),  # the same for all that was measured together
    Column("endpoint", Text, nullable=False),  # where these turns were spoken
    Column("model", Text, nullable=False),  # that spoke them
    Column("model_digest", Text, nullable=False),  # of its file, as the endpoint tells it; empty if it does not
    Column("options", Text, nullable=False),  # what else shapes its speed, as context=8192
    Column("role", Text, nullable=False),  # of these turns
    Column("in_flight", Integer, nullable=False),  # about how many turns were under way there
    Column("turns", Integer, nullable=False),  # how many were measured
    Column("seconds", Float, nullable=False),  # sum of each turn's share of the endpoint's time
    Column("squares", Float, nullable=False),  # sum of the squares of those shares
    Column("prompt_tokens", Integer, nullable=False),  # sum over these turns, cached ones included
    Column("cached_tokens", Integer, nullable=False),  # those of them that came from the prefix cache
    Column("reply_tokens", Integer, nullable=False),  # sum over these turns
    one_of("role", Role),
    CheckConstraint("in_flight >= 1", name="in_flight"),
    CheckConstraint("turns >= 1", name="turns"),
    CheckConstraint("seconds >= 0 AND squares >= 0", name="seconds"),
    CheckConstraint("prompt_tokens >= 0 AND cached_tokens >= 0 AND reply_tokens >= 0", name="tokens"),
)

load_rates = Table(
    "load_rates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id")),  # null for a probe of no run
    Column("measured_at", UtcTime, nullable=False),  # the same for all that was measured together
    Column("endpoint", Text, nullable=False),  # where it was loaded
    Column("model", Text, nullable=False),  # that was loaded
    Column("model_digest", Text, nullable=False),  # of its file, as the endpoint tells it; empty if it does not
    Column("loads", Integer, nullable=False),  # how many were measured
    Column("seconds", Float, nullable=False),  # sum over these loads, what went unloaded first included
    CheckConstraint("loads >= 1", name="loads"),
    CheckConstraint("seconds >= 0", name="seconds"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True, nullable=False),  # that was about to begin
    Column("endpoint", Text, primary_key=True, nullable=False),  # empty for the run as a whole
    Column("turns", Integer, nullable=False),  # to be spoken there
    Column("loads", Integer, nullable=False),  # of models, to be made there
    Column("seconds", Float),  # that this takes; null where nothing was known
    Column("low", Float),  # where the interval around the seconds begins
    Column("high", Float),  # where it ends
    Column("first_verdict", Float),  # seconds until then
    CheckConstraint("turns >= 0 AND loads >= 0", name="counts"),
    CheckConstraint("seconds >= 0", name="seconds"),
    CheckConstraint("low >= 0 AND low <= high", name="interval"),
    CheckConstraint("first_verdict >= 0", name="first_verdict"),
)
