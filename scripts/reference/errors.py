"""docs/reference/errors.md: the classes of failed attempts, what is done about each, and the tree of errors."""

from __future__ import annotations

from orchestrator import errors
from orchestrator.config import Settings
from orchestrator.errors import EndpointError, ErrorClass
from orchestrator.scheduler.retry import Decision, decide
from scripts.reference.comments import member_meanings
from scripts.reference.markdown import block, document, mark, table

_MOST = int(Settings.model_fields["max_attempts"].default)
_INTRO = f"""\
A failed attempt has a class, and the class decides what is done about it; `orchestrate errors` shows both. The
figures are those of `max_attempts = {_MOST}`, the default. Waits are spread by chance up to the time named here; one
that the server asks for (`Retry-After`) is waited to its end, up to an hour. An attempt that does not count leaves the
task its tries: an outage uses none of them up. What you can do about each class is said in [when something
fails](../howto/failures.md)."""
_COLUMNS = ["class", "meaning", "raised as", "what is done", "counts"]
_BY_HAND = """\
Two of the classes come from no model server. `lost` is written when a run is found dead or a lease has run out: the
task is claimable again at once. It fails only after `max_attempts`, and only if its worker died with nothing else in
flight: so a record that kills its worker ends as `failed`, and those beside it do not. `cancelled` marks tasks that
`orchestrate cancel` took out of the queue."""
_APART = """\
A call that stalled (`StalledError`) is never taken for the same error twice: it is the server that stalls. A judge that
contradicts itself (`ContradictionError`) was asked about it within the attempt: its task fails at once."""
_TREE = """\
Every error that the program raises on purpose stands in one tree. One that reaches the user is said in one line with
what to do next, and the command exits with 1."""


def page() -> str:
    """The page."""
    meanings = member_meanings(ErrorClass)
    rows = [
        row
        for kind in ErrorClass
        for row in ([_row(kind, meanings[kind.value], down=True)] if kind is ErrorClass.TRANSIENT else [])
        + [_row(kind, meanings[kind.value], down=False)]
    ]
    return document(
        "Errors", _INTRO, table(_COLUMNS, rows), _BY_HAND, _APART, "## The tree", _TREE, block("text", _tree())
    )


def _row(kind: ErrorClass, meaning: str, *, down: bool) -> list[str]:
    raised = ", ".join(mark(name) for name in _raised_as(kind)) or "nowhere; see below"
    first = decide(kind, 1, _MOST, down=down)
    return [
        mark(kind.value),
        f"{meaning}: nothing answered at all" if down else meaning,
        raised,
        _done_about(kind, first, down=down),
        "yes" if first.counted else "no",
    ]


def _raised_as(kind: ErrorClass) -> list[str]:
    return [error.__name__ for error in EndpointError.__subclasses__() if error.kind is kind]


def _done_about(kind: ErrorClass, first: Decision, *, down: bool) -> str:
    if kind is ErrorClass.LOST:
        return f"put back at once by a rescue; after {_MOST} attempts the task fails"
    if kind is ErrorClass.CANCELLED:
        return "nothing, until somebody gives `orchestrate retry`"
    if first.stop:
        return "the run ends and says why; the task waits for the next run"
    if first.pause_s is not None:
        return "the endpoint is paused until it answers again; the task waits for it"
    if first.crowded:
        return f"fewer turns are sent at a time; the task waits up to {first.delay_s:g} s, or as the server asks"
    if first.delay_s is None:
        return "the task fails at once: the same call would fail again"
    return _tries(kind, down=down)


def _tries(kind: ErrorClass, *, down: bool) -> str:
    delays = []
    attempt = 1
    while (delay := decide(kind, attempt, _MOST, down=down).delay_s) is not None:
        delays.append(delay)
        attempt += 1
    waits = f"after up to {', '.join(f'{delay:g}' for delay in delays)} s" if any(delays) else "at once"
    return f"again {waits}; after the same error twice, or {attempt} attempts, the task fails"


def _tree() -> str:
    return (errors.__doc__ or "").split("\n\n", 1)[1]
