"""A turn is acknowledged when its row is on the disk, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from orchestrator.domain import Claim
from orchestrator.errors import StoreError
from orchestrator.ports import TaskStore
from orchestrator.scheduler.commits import Commits
from orchestrator.store.tasks import SqlTaskStore
from tests.faults.disk import Disk, Op, Platter
from tests.faults.driver import stored_on
from tests.faults.nights import DATABASE, turns, written
from tests.store_rows import at, begin, drafts, empty_database, request, spoken, submission


@pytest.fixture
def disk() -> Iterator[Disk]:
    fresh = Disk()
    yield fresh
    fresh.close()


@pytest.fixture
def store(disk: Disk, tmp_path: Path) -> Iterator[SqlTaskStore]:
    """The store of a run that has claimed nothing yet of five records."""
    with stored_on(disk):
        opened = SqlTaskStore(empty_database(tmp_path / DATABASE))
        opened.submit(submission(), drafts("a", "b", "c", "d", "e"), at(0))
    yield opened
    opened.close()


def keep(claim: Claim, store: TaskStore) -> bool:
    return store.record(spoken(claim), at(3))


async def test_acknowledged_turn_survives_the_power_cut(disk: Disk, store: SqlTaskStore, tmp_path: Path) -> None:
    claims = store.claim(request(begin(store), limit=5))
    commits = Commits(store)

    left = []
    for claim in claims:
        assert await commits.do(partial(keep, claim))
        platter = Platter(disk.before)
        for op in disk.ops:
            platter.take(op)
        left.append(len(turns(written(tmp_path / "cut", platter.as_synced()))))

    await commits.close()
    assert left == [1, 2, 3, 4, 5]


async def test_failed_commit_is_not_acknowledged(disk: Disk, store: SqlTaskStore) -> None:
    claims = store.claim(request(begin(store), limit=5))
    commits = Commits(store)

    def fails(op: Op) -> int | None:
        return apsw.SQLITE_IOERR_FSYNC if op.kind == "sync" else None

    disk.fault = fails
    with pytest.raises(StoreError, match="could not be read or written"):
        await commits.do(partial(keep, claims[0]))

    disk.fault = lambda _op: None
    assert await commits.do(partial(keep, claims[0])), "the disk is well again"
    await commits.close()
    assert [task.turns for task in store.tasks()] == [1, 0, 0, 0, 0]
