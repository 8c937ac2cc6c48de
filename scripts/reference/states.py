"""docs/reference/states.md: what a task's states mean, and which moves there are, from the enum and its table."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain import MOVES, RunStatus, TaskStatus
from scripts.reference.comments import member_meanings
from scripts.reference.markdown import block, document, mark, table

_INTRO = """\
A task is one record to be debated under one digest. Its state is the column `tasks.status`. Which moves are legal
stands in one table in `orchestrator/domain.py`, beside the enum; this page is made from it."""
_NOTES = """\
- A move and what caused it are one transaction: `done` comes with the verdict, `failed` with the last failed attempt.
- A worker that lost its lease cannot write. Each claim raises `tasks.token`, and a write under an older one is refused.
- `done` is final. To debate such a record again, change the debate and give `submit --again`: that makes a new task."""
_Move = tuple[TaskStatus, TaskStatus]

# Who makes each move. A move that `MOVES` has and this table has not is an error, and the other way round.
_BY: Mapping[_Move, str] = {
    (TaskStatus.PENDING, TaskStatus.LEASED): "claim",
    (TaskStatus.PENDING, TaskStatus.CANCELLED): "cancel",
    (TaskStatus.PENDING, TaskStatus.SUPERSEDED): "newer digest or record",
    (TaskStatus.LEASED, TaskStatus.PENDING): "yield, retry later, release, rescue",
    (TaskStatus.LEASED, TaskStatus.DONE): "the judge spoke",
    (TaskStatus.LEASED, TaskStatus.FAILED): "no attempts left",
    (TaskStatus.LEASED, TaskStatus.CANCELLED): "cancel",
    (TaskStatus.LEASED, TaskStatus.SUPERSEDED): "newer record",
    (TaskStatus.FAILED, TaskStatus.PENDING): "retry",
    (TaskStatus.CANCELLED, TaskStatus.PENDING): "retry",
    (TaskStatus.SUPERSEDED, TaskStatus.PENDING): "its digest came back",
}


def page() -> str:
    """The page."""
    return document(
        "States",
        _INTRO,
        "## A task",
        _meanings(member_meanings(TaskStatus)),
        block("mermaid", _diagram()),
        _NOTES,
        "## A run",
        "A run is one invocation of `process-pending`; its state is the column `runs.status`.",
        _meanings(member_meanings(RunStatus)),
    )


def _meanings(meanings: Mapping[str, str]) -> str:
    return table(["state", "meaning"], [[mark(value), meaning] for value, meaning in meanings.items()])


def _diagram() -> str:
    moves = _moves()
    if moves ^ _BY.keys():
        raise ValueError(f"these moves are in one of MOVES and the diagram's table only: {sorted(moves ^ _BY.keys())}")
    final = [status for status in TaskStatus if not MOVES[status]]
    arrows = [f"    {before} --> {after}: {by}" for (before, after), by in _BY.items()]
    return "\n".join(
        [
            "stateDiagram-v2",
            f"    [*] --> {TaskStatus.PENDING}: submit",
            *arrows,
            *(f"    {status} --> [*]" for status in final),
        ]
    )


def _moves() -> set[_Move]:
    return {(before, after) for before, afters in MOVES.items() for after in afters}
