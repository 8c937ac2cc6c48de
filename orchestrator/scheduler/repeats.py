"""Remembers how each turn failed last, so that the same error twice is known for what it is.

What befalls several tasks is no proof against any of them: a server that fails now and then says the same each time.
"""

from __future__ import annotations

from orchestrator.domain import Attempt, Step, TaskId
from orchestrator.errors import ErrorClass, gist

_SEVERAL = 3
_TEXTS = 256  # the newest are kept

_Seen = tuple[ErrorClass, str]


class Repeats:
    """The last failed attempt of each turn that waits to be tried again; as long as the run lives."""

    def __init__(self) -> None:
        self._last: dict[TaskId, tuple[Step, _Seen]] = {}
        self._fell: dict[_Seen, set[TaskId]] = {}

    def again(self, task_id: TaskId, attempt: Attempt) -> bool:
        """Whether the same turn failed with the same class and the same text before; remembers this attempt."""
        seen = attempt.error_class, gist(attempt.error)
        before = self._last.get(task_id)
        self._last[task_id] = attempt.step, seen
        fell = self._fell.setdefault(seen, set())
        if len(fell) < _SEVERAL:
            fell.add(task_id)
        if len(self._fell) > _TEXTS:
            del self._fell[next(iter(self._fell))]
        return before == (attempt.step, seen)

    def widespread(self, attempt: Attempt) -> bool:
        """Whether several tasks of this run failed so."""
        return len(self._fell.get((attempt.error_class, gist(attempt.error)), ())) >= _SEVERAL

    def forget(self, task_id: TaskId) -> None:
        """The turn was spoken, or its task given up."""
        self._last.pop(task_id, None)
