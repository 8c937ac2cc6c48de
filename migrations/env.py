"""Runs revisions on the connection that `orchestrator.store.schema` hands over, inside its one transaction."""

from __future__ import annotations

from alembic import context

from orchestrator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
