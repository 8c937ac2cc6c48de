"""A database of one test's own, and a reader beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.reading import Reading
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import empty_database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlTaskStore]:
    opened = SqlTaskStore(empty_database(tmp_path / "tasks.db"))
    yield opened
    opened.close()


@pytest.fixture
def reading(store: SqlTaskStore) -> Iterator[Reading]:
    with Reading(store.path) as opened:
        yield opened
