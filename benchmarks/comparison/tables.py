"""What was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.comparison.cases import ALONE, AUTO, CACHES, DEPTH, OURS, WAVES
from benchmarks.comparison.direct import Point
from benchmarks.comparison.foretold import Foretold
from benchmarks.comparison.measure import Row

# The jobs in flight of a contender that was measured by HTTP as well as swept without.
_BOTH = ("asyncio, 64 debates", 64)

Sweeps = Mapping[int, Sequence[Point]]


def contenders(rows: Sequence[Row]) -> str:
    """A table for each case."""
    parts = []
    for title in dict.fromkeys(row.title for row in rows):
        mine = [row for row in rows if row.title == title]
        if len(mine) > 1:
            parts.append(_case(title, mine))
    return "\n\n".join(parts)


def orders(rows: Sequence[Row]) -> str:
    """`waves`, `depth` and what `auto` chose."""
    lines = []
    for title in dict.fromkeys(row.title for row in rows if row.contender == WAVES):
        found = {row.contender: row for row in rows if row.title == title}
        if found.keys() >= {AUTO, WAVES, DEPTH}:
            cells = [f"{found[order].to_bound:.2f}" for order in (WAVES, DEPTH, AUTO)]
            lines.append([f"{title}, {found[AUTO].done:,} records", *cells])
    return _table(["makespan / bound", "waves", "depth", "auto"], lines) if lines else ""


def first_verdicts(rows: Sequence[Row]) -> str:
    """When the first verdict of a run of ours was there."""
    lines = [
        [
            f"{row.title}, {row.done:,} records",
            f"{row.outcome.first_s:,.0f}",
            f"{row.measured_s:,.0f}",
            _percent(row.outcome.first_s / row.measured_s),
            f"{row.to_bound:.2f}",
        ]
        for row in rows
        if row.contender == OURS and row.outcome.first_s is not None
    ]
    return _table(["our run", "first verdict, s", "whole run, s", "share", "whole run / bound"], lines) if lines else ""


def foretold(found: Sequence[Foretold]) -> str:
    """What plans said, and what came of it."""
    lines = [
        [
            each.title,
            f"{each.records:,} after {each.measured_on:,}",
            _known(each.planned_s)
            + (f" ({each.low_s:,.0f} to {each.high_s:,.0f})" if each.low_s and each.high_s else ""),
            f"{each.took_s:,.0f}",
            f"{each.took_s / each.bound_s:.2f}",
            "" if each.apart is None else f"{each.apart:+.1%}".replace("%", " %"),
            f"{each.planned_loads} / {each.loads}",
            f"{_known(each.planned_first_s)} / {_known(each.first_s)}",
        ]
        for each in found
    ]
    head = [
        "plan against run",
        "records",
        "planned, s",
        "took, s",
        "/ bound",
        "apart",
        "loads, planned / made",
        "first verdict, s",
    ]
    return _table(head, lines) if lines else ""


def in_flight(sweeps: Sweeps, rows: Sequence[Row]) -> str:
    """Throughput against jobs in flight, a column for each cache, and where ours settled."""
    if not sweeps:
        return ""
    limits = [point.in_flight for point in next(iter(sweeps.values()))]
    lines = []
    for place, limit in enumerate(limits):
        cells = [
            f"{points[place].throughput:.2f} ({_percent(points[place].cached_share)})" for points in sweeps.values()
        ]
        lines.append([str(limit), *cells])
    settled = [_settled(rows, kv_tokens) for kv_tokens in sweeps]
    lines.append(["ours, over HTTP", *settled])
    return _table(["jobs in flight", *(f"K = {kv_tokens:,}" for kv_tokens in sweeps)], lines)


def soundness(sweeps: Sweeps, rows: Sequence[Row]) -> str:
    """How far the client and the wire are seen in the simulated time."""
    late = max(rows, key=lambda row: row.counted.late_s)
    said = [
        f"The server noticed no event more than {late.counted.late_s * 1e3:.0f} ms (real) late "
        f"({late.title}, {late.contender})."
    ]
    name, limit = _BOTH
    row = next((row for row in rows if row.contender == name), None)
    point = next((point for point in sweeps.get(CACHES[1], ()) if point.in_flight == limit), None)
    if row is not None and point is not None and row.done == row.records:
        apart = row.measured_s / point.seconds - 1
        said.append(
            f"{name} over HTTP took {row.measured_s:.1f} s, the same without HTTP {point.seconds:.1f} s ({apart:+.1%})."
        )
    return " ".join(said)


def settled_at(rows: Iterable[Row], kv_tokens: int) -> Row | None:
    """Our run with that cache."""
    wanted = f"{kv_tokens:,} tokens"
    return next((row for row in rows if row.contender == OURS and row.title.endswith(wanted)), None)


def _settled(rows: Sequence[Row], kv_tokens: int) -> str:
    row = settled_at(rows, kv_tokens)
    if row is None or row.outcome.in_flight is None:
        return ""
    return f"{row.done / row.measured_s:.2f} at {row.outcome.in_flight:.0f} ({row.to_bound:.2f} of the bound)"


def _case(title: str, rows: Sequence[Row]) -> str:
    alone = next((row for row in rows if row.contender == ALONE), None)
    shown = [row for row in rows if row.contender not in (AUTO, WAVES, DEPTH)]
    head = [
        "contender",
        "makespan, s",
        "times faster",
        "/ bound",
        "loads",
        "models wanted",
        "cached",
        "in flight",
        "idle",
    ]
    full = next((row for row in shown if row.done == row.records), shown[0])
    lines = [_line(row, alone) for row in shown]
    loads = str(full.bound_loads) if full.bound_loads else ""
    lines.append(["*bound*", f"{full.bound_s * full.records / full.done:,.0f}", "", "1.00", loads, "", "", "", ""])
    return f"**{title}**: {full.records:,} records\n\n{_table(head, lines)}"


def _line(row: Row, alone: Row | None) -> list[str]:
    count = row.counted
    part = "" if row.done == row.records else f" ({row.done:,} records)"
    name = f"**{row.contender}**" if row.contender == OURS else row.contender
    return [
        name + part,
        f"{row.makespan_s:,.0f}",
        f"{alone.makespan_s / row.makespan_s:.2f}" if alone is not None else "",
        f"{row.to_bound:.2f}",
        str(count.loads) if row.bound_loads else "",
        str(count.most_wanted),
        _percent(count.cached_share),
        f"{count.in_flight:.1f}",
        _percent(count.idle_share),
    ]


def _known(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:,.0f}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = "|".join(["---", *("--:" for _ in head[1:])])
    rows = [" | ".join(line) for line in lines]
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {row} |" for row in rows)])
