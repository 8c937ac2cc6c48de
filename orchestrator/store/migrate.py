"""Runs Alembic, configured here and not in a file, inside one transaction."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from orchestrator.store.engine import connect, said_in_words


def move(path: Path, migrations: Path, revision: str, *, forward: bool) -> None:
    """Move a database to a revision. Killed at any statement, it has the old schema or the new."""
    engine = create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with said_in_words(path), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL").close()
        # Revisions to come rebuild tables, which a foreign key would forbid.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF").close()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = _config(migrations)
        config.attributes["connection"] = connection
        if forward:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)
        connection.exec_driver_sql("COMMIT")


def _config(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
