"""Who may speak on an endpoint right now. More tasks are claimed than may speak, so that a free seat never waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from orchestrator.domain import TaskId


class Seats:
    """As many seats as `limit` says at the moment. A task keeps its seat from turn to turn, and so its prefix."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._taken: set[TaskId] = set()
        self._waiting: deque[tuple[TaskId, asyncio.Future[bool]]] = deque()
        self._open = True

    async def take(self, task_id: TaskId) -> bool:
        """Wait for a seat, first come first served; False if none is given out any more."""
        if task_id in self._taken:
            return True
        if not self._open:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((task_id, future))
        self.give()
        try:
            return await future
        except asyncio.CancelledError:
            self.leave(task_id)
            raise

    def leave(self, task_id: TaskId) -> None:
        """Give a seat back, if the task has one."""
        self._taken.discard(task_id)
        self.give()

    def give(self) -> None:
        """Give out what is free: after a seat was left, or the limit was raised."""
        while self._waiting and len(self._taken) < self._limit():
            task_id, future = self._waiting.popleft()
            if not future.done():
                self._taken.add(task_id)
                future.set_result(True)

    def close(self) -> None:
        """Give out no more seats, and send those away that wait for one."""
        self._open = False
        self.send_away()

    def send_away(self) -> None:
        """Send those away that wait for a seat."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(False)

    def open(self) -> None:
        """Give out seats again."""
        self._open = True
