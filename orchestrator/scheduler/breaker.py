"""Tells an endpoint that fails from records that fail: several tasks in a row, and no turn between them."""

from __future__ import annotations

from orchestrator.domain import TaskId
from orchestrator.ports import Message, Request, Sampling

_IN_A_ROW = 3


class Breaker:
    """Counts the tasks that failed on one endpoint since the last turn that went well."""

    def __init__(self) -> None:
        self._failing: set[TaskId] = set()

    @property
    def open(self) -> bool:
        """The endpoint is at fault: three tasks failed, and nothing went well since."""
        return len(self._failing) >= _IN_A_ROW

    def failed(self, task_id: TaskId) -> None:
        """A turn failed in a way that may be the endpoint's fault."""
        self._failing.add(task_id)

    def went_well(self) -> None:
        """A turn, or a trial call, got its reply."""
        self._failing.clear()


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
