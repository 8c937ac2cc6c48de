"""The circuit breaker of one endpoint: tells a server that fails from records that fail, and how often to ask again.

A server is at fault when several tasks fail in a row and no turn goes well between them, or when nothing answers at
all. Then nothing is sent there but now and then a small trial call, until one goes well. A trial call is smaller than
any turn, so after it one turn is sent alone: only when that goes well, too, is all as before. Where trial calls go well
and turns fail, again and again, it is the turns that are at fault in the end.
"""

from __future__ import annotations

from orchestrator.domain import TaskId
from orchestrator.ports import Message, Request, Sampling

_IN_A_ROW = 3
_ALONE = 8  # turns sent alone that may fail at the endpoint's cost; with the pauses between, two to three minutes
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Breaker:
    """Counts the tasks that failed on one endpoint since the last turn that went well."""

    def __init__(self) -> None:
        self.half_open = False  # a trial call went well after several tasks had failed; no turn has since
        self._alone = 0  # turns that failed since
        self._failing: set[TaskId] = set()
        self._well = 0  # turns and trial calls so far
        self._first: dict[TaskId, int] = {}  # of those when a task failed first

    @property
    def open(self) -> bool:
        """The endpoint is at fault: three tasks failed, and nothing went well since but trial calls."""
        return len(self._failing) >= _IN_A_ROW or 0 < self._alone <= _ALONE

    @property
    def failing(self) -> frozenset[TaskId]:
        """The tasks that failed since the last turn that went well."""
        return frozenset(self._failing)

    def suspects(self, task_id: TaskId) -> bool:
        """Whether this task has failed, and nothing went well since: the fault may be the endpoint's."""
        return task_id in self._failing

    def worked_since(self, task_id: TaskId) -> bool:
        """Whether something went well since this task failed first: without that the fault may be the endpoint's."""
        return self._well > self._first.get(task_id, self._well)

    def failed(self, task_id: TaskId) -> None:
        """A turn failed in a way that may be the endpoint's fault."""
        self._failing.add(task_id)
        self._first.setdefault(task_id, self._well)
        self._alone += self.half_open

    def forget(self, task_id: TaskId) -> None:
        """The task's turn was spoken at last, or the task given up."""
        self._first.pop(task_id, None)

    def answered(self) -> None:
        """A trial call got its reply."""
        self.half_open = self.half_open or self.open
        self._well += 1
        self._failing.clear()

    def went_well(self) -> None:
        """A turn got its reply."""
        self.half_open, self._alone = False, 0
        self._well += 1
        self._failing.clear()


def pause_s(outages: int, at_least_s: float, chance: float) -> float:
    """Seconds until an endpoint is asked again, after so many pauses (from 1) since a turn went well there.

    Twice as long each time, half a minute at most; the last half of it is by `chance` (0 to 1), because several runs
    may wait for one server. Never less than `at_least_s`, the server's own wish.
    """
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(outages - 1, 16))
    return max(at_least_s, longest * (1 + chance) / 2)


def trial_call(model: str, sampling: Sampling) -> Request:
    """The smallest call that shows whether a model answers; whatever it says will do."""
    schema = {
        "type": "object",
        "properties": {"ready": {"type": "boolean"}},
        "required": ["ready"],
        "additionalProperties": False,
    }
    messages = (
        Message(role="system", content="Reply with one JSON object and nothing else."),
        Message(role="user", content='Are you ready? Reply with the field "ready".'),
    )
    return Request(model=model, messages=messages, schema=schema, sampling=sampling)
