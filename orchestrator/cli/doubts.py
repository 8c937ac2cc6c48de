"""What to look at before believing the verdicts, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from orchestrator.cli.format import counted, visible

if TYPE_CHECKING:
    from orchestrator.domain import Flag, Mark
    from orchestrator.errors import Guard
    from orchestrator.store.doubts import ConstantJudge, Doubts

_FLAGS = {
    "outside": "outside the range of both debaters' scores",
    "fallback": "that a fallback model or a smaller context had a part in",
}
_WRAPPED = "replies taken out of what they came in"
_MARKS = {
    "fenced": f"{_WRAPPED} (fenced)",
    "prose": f"{_WRAPPED} (prose)",
    "thought": f"{_WRAPPED} (thought)",
    "fallback_model": "turns spoken by a fallback model, for want of memory",
    "fallback_context": "turns spoken in a smaller context, for want of memory",
}


def of_database(found: Doubts) -> Iterator[str]:
    """The doubts that a database raises, a line each, and where to see more."""
    for flag in found.flags:
        yield f"{flag.debate} {flag.digest}: {_flagged(flag.flag, flag.count)}"
    if found.flags:
        yield "see them: orchestrate export, column flags"
    yield from constant(found.constant_judges)
    for mark in found.marks:
        yield f"{mark.debate}: {_marked(mark.mark, mark.count)}"
    for guard in found.guards:
        yield f"{guard.debate}: replies refused for {guard.guard.value}: {guard.count:,}"


def of_run(flags: Mapping[Flag, int], marks: Mapping[Mark, int], guards: Mapping[Guard, int]) -> Iterator[str]:
    """The same, as counted by one run."""
    yield from (_flagged(flag, count) for flag, count in flags.items())
    yield from (_marked(mark, count) for mark, count in marks.items())
    yield from refused(guards)


def refused(guards: Mapping[Guard, int]) -> Iterator[str]:
    """How many replies each check refused, in one line; none if nothing was refused."""
    if guards:
        yield f"replies refused: {', '.join(f'{guard.value} {count:,}' for guard, count in guards.items())}"


def constant(judges: Iterable[ConstantJudge]) -> Iterator[str]:
    """The judges of a run that gave every record the same score."""
    for judge in judges:
        given = f"gave {judge.score} to all {judge.count:,} records of {judge.debate}"
        yield (
            f"run {judge.run_id}: the judge {visible(judge.model)} {given}, which tells nothing: "
            "read some debates (orchestrate show), then the judge's prompt and the scale"
        )


def _flagged(flag: Flag, count: int) -> str:
    return f"{counted(count, 'verdict')} {_FLAGS[flag.value]}"


def _marked(mark: Mark, count: int) -> str:
    return f"{_MARKS[mark.value]}: {count:,}"
