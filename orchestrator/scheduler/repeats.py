"""Remembers how each turn failed last, so that the same error twice is known for what it is."""

from __future__ import annotations

from orchestrator.domain import Attempt, Step, TaskId
from orchestrator.errors import ErrorClass, gist


class Repeats:
    """The last failed attempt of each turn that waits to be tried again; as long as the run lives."""

    def __init__(self) -> None:
        self._last: dict[TaskId, tuple[Step, ErrorClass, str]] = {}

    def again(self, task_id: TaskId, attempt: Attempt) -> bool:
        """Whether the same turn failed with the same class and the same text before; remembers this attempt."""
        seen = attempt.step, attempt.error_class, gist(attempt.error)
        before = self._last.get(task_id)
        self._last[task_id] = seen
        return before == seen

    def forget(self, task_id: TaskId) -> None:
        """The turn was spoken, or its task given up."""
        self._last.pop(task_id, None)
