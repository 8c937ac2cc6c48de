"""Group commit: one thread writes, and whatever came in while it wrote shares its next transaction.

A commit with synchronous=FULL costs a sync of the disk. Sixty-four turns that wait for one sync cost as much as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from orchestrator.ports import TaskStore

_MOST_AT_ONCE = 256

Result = TypeVar("Result")
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Commits:
    """Runs a store's verbs on one thread, many to a transaction; each caller waits until its own are durable."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._queue: SimpleQueue[tuple[Callable[[TaskStore], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._write, name="orchestrate-commits", daemon=True)
        self._thread.start()

    async def do(self, verb: Callable[[TaskStore], Result]) -> Result:
        """What the verb returns, once its transaction is on disk. Raises what the verb raises, or StoreError."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put((verb, future))
        return await future

    async def close(self) -> None:
        """Finish what is queued, and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _write(self) -> None:
        open_ = True
        while open_:
            group = [self._queue.get()]
            with suppress(Empty):
                while len(group) < _MOST_AT_ONCE:
                    group.append(self._queue.get_nowait())
            open_ = None not in group
            verbs = [entry for entry in group if entry is not None]
            if verbs:
                self._loop.call_soon_threadsafe(_tell, self._together(verbs))

    def _together(self, group: list[tuple[Callable[[TaskStore], Any], asyncio.Future[Any]]]) -> list[_Outcome]:
        begun = False
        try:
            with self._store.batch():
                begun = True
                results = [verb(self._store) for verb, _ in group]
        except Exception as error:  # noqa: BLE001 -- the thread outlives every verb; the error goes to whoever asked
            if len(group) == 1 or not begun:
                # A database that is locked has been waited for once; one by one they would wait for hours.
                return [(future, None, error) for _, future in group]
            # One verb's failure must not undo the others': each gets a transaction of its own.
            return [outcome for entry in group for outcome in self._together([entry])]
        return [(future, value, None) for (_, future), value in zip(group, results, strict=True)]


def _tell(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.cancelled():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
