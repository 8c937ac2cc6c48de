"""Every implementation of a port passes the same tests: here are the stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.memory import MemoryTaskStore
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import Store, empty_database


@pytest.fixture(params=["sql", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryTaskStore()
    if request.param == "sql":
        opened = SqlTaskStore(empty_database(tmp_path / "tasks.db"), synchronous="NORMAL")
    yield opened
    opened.close()
