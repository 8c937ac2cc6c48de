"""Group commit: who is told what when a transaction fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestrator.errors import StoreError
from orchestrator.ports import TaskStore
from orchestrator.scheduler.commits import Commits
from orchestrator.store.memory import MemoryTaskStore


class Locked(MemoryTaskStore):
    """A store in which no transaction ever begins; the first one says so only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_say = threading.Event()
        self.tried = 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        self.tried += 1
        self.may_say.wait(10)
        if self.tried:
            raise StoreError("locked by another program")
        yield


def refused(_store: TaskStore) -> None:
    raise StoreError("a verb of its own")


async def test_locked_database_is_waited_for_once() -> None:
    store = Locked()
    commits = Commits(store)

    asked = [asyncio.create_task(commits.do(TaskStore.running)) for _ in range(50)]
    await asyncio.sleep(0)  # all of them are queued now
    store.may_say.set()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    await commits.close()

    assert [str(end) for end in ends] == ["locked by another program"] * 50
    assert store.tried <= 2  # what the thread had taken at first, and the rest


async def test_failing_verb_spares_the_others() -> None:
    commits = Commits(MemoryTaskStore())

    ends = await asyncio.gather(
        *(commits.do(refused if number == 7 else TaskStore.running) for number in range(20)), return_exceptions=True
    )
    await commits.close()

    assert [isinstance(end, StoreError) for end in ends] == [number == 7 for number in range(20)]


async def test_error_reaches_its_own_caller() -> None:
    commits = Commits(MemoryTaskStore())

    with pytest.raises(StoreError, match="of its own"):
        await commits.do(refused)

    await commits.close()
