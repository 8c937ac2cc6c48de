"""How a run kept to what was said of it before it began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.format import counted, duration

if TYPE_CHECKING:
    from orchestrator.app.looking import Comparison

_LEAST_S = 1.0  # below this a per cent says nothing


def compared(comparisons: Sequence[Comparison], *, endpoints: bool = True) -> Iterator[str]:
    """One line for a run and, if there were several endpoints, one for each; none if nothing was said of it."""
    parts = [each for each in comparisons if each.endpoint]
    for each in comparisons:
        if not each.endpoint:
            yield _cut_short(each) if _early(each) else _whole(each)
        elif endpoints and len(parts) > 1:
            yield f"  {each.endpoint}: {_so_much(each) if _early(each) else _part(each)}"


def _early(each: Comparison) -> bool:
    """Whether it ended before its work did: what was said of the whole of it cannot be held against it."""
    return each.status.value not in ("done", "running")


def _cut_short(each: Comparison) -> str:
    said, made = each.predicted, each.actual
    # Nobody was there when a lost run ended: its end is when it was found.
    after = "" if made.seconds is None or each.status.value == "lost" else f" after {duration(made.seconds)}"
    whole = "" if said.seconds is None else f"; the whole was predicted to take {duration(said.seconds)}"
    return f"ended early ({each.status.value}){after}: {_so_much(each)}{whole}"


def _so_much(each: Comparison) -> str:
    said, made = each.predicted, each.actual
    return f"done {made.turns:,} of {counted(said.turns, 'turn')}, {made.loads:,} of {counted(said.loads, 'load')}"


def _whole(each: Comparison) -> str:
    said, made = each.predicted, each.actual
    took = "so far" if made.seconds is None else f"{duration(made.seconds)}{_off(said.seconds, made.seconds)}"
    return f"{_said(each)}; actual {_counts(made.turns, made.loads)}, {took}"


def _part(each: Comparison) -> str:
    """Endpoints work side by side, so an actual time of one of them alone is not known."""
    return f"{_said(each)}; actual {_counts(each.actual.turns, each.actual.loads)}"


def _said(each: Comparison) -> str:
    said = each.predicted
    time = "time unknown" if said.seconds is None else duration(said.seconds)
    return f"predicted {_counts(said.turns, said.loads)}, {time}"


def _counts(turns: int, loads: int) -> str:
    return f"{counted(turns, 'turn')}, {counted(loads, 'load')}"


def _off(said: float | None, made: float) -> str:
    return "" if said is None or said < _LEAST_S else f" ({100 * (made / said - 1):+.0f} %)"
