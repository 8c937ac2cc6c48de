"""How a run kept to what was said of it before it began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.format import counted, duration

if TYPE_CHECKING:
    from orchestrator.app.looking import Comparison

_LEAST_S = 1.0  # below this a per cent says nothing


def compared(comparisons: Sequence[Comparison], *, done: bool, endpoints: bool = True) -> Iterator[str]:
    """One line for a run and, if there were several endpoints, one for each; none if nothing was said of it.

    `done` tells that the run ended by itself, so that its time may be held against what was said.
    """
    parts = [each for each in comparisons if each.endpoint]
    for each in comparisons:
        if not each.endpoint:
            yield _line(each, done)
        elif endpoints and len(parts) > 1:
            yield f"  {each.endpoint}: {_part(each)}"


def _line(each: Comparison, done: bool) -> str:
    said, made = each.predicted, each.actual
    time = "time unknown" if said.seconds is None else duration(said.seconds)
    took = "so far" if made.seconds is None else duration(made.seconds)
    return f"predicted {_counts(said.turns, said.loads)}, {time}; actual {_counts(made.turns, made.loads)}, {took}" + (
        _off(said.seconds, made.seconds) if done else ""
    )


def _part(each: Comparison) -> str:
    """Endpoints work side by side, so an actual time of one of them alone is not known."""
    said, made = each.predicted, each.actual
    time = "time unknown" if said.seconds is None else duration(said.seconds)
    return f"predicted {_counts(said.turns, said.loads)}, {time}; actual {_counts(made.turns, made.loads)}"


def _counts(turns: int, loads: int) -> str:
    return f"{counted(turns, 'turn')}, {counted(loads, 'load')}"


def _off(said: float | None, made: float | None) -> str:
    if said is None or made is None or said < _LEAST_S:
        return ""
    return f" ({100 * (made / said - 1):+.0f} %)"
