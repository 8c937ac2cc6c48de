"""The circuit breaker of one endpoint: tells a server that fails from records that fail, and how often to ask again.

A server is at fault when several tasks fail in a row and no turn goes well between them, or when nothing answers at
all. Then nothing is sent there but now and then a small trial call, until one goes well.
"""

from __future__ import annotations

from orchestrator.domain import TaskId
from orchestrator.ports import Message, Request, Sampling

_IN_A_ROW = 3
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Breaker:
    """Counts the tasks that failed on one endpoint since the last turn that went well."""

    def __init__(self) -> None:
        self._failing: set[TaskId] = set()

    @property
    def open(self) -> bool:
        """The endpoint is at fault: three tasks failed, and nothing went well since."""
        return len(self._failing) >= _IN_A_ROW

    @property
    def failing(self) -> frozenset[TaskId]:
        """The tasks that failed since the last turn that went well."""
        return frozenset(self._failing)

    def suspects(self, task_id: TaskId) -> bool:
        """Whether this task has failed, and nothing went well since: the fault may be the endpoint's."""
        return task_id in self._failing

    def failed(self, task_id: TaskId) -> None:
        """A turn failed in a way that may be the endpoint's fault."""
        self._failing.add(task_id)

    def went_well(self) -> None:
        """A turn, or a trial call, got its reply."""
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
