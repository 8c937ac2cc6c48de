"""`python -m benchmarks.comparison`: measure, and show it as Markdown."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.comparison import foretold, page, pictures, tables
from benchmarks.comparison.cases import ALONE, CACHES, GROUPS, LIMITS, OURS, SWAPS, cases
from benchmarks.comparison.direct import Point, sweep
from benchmarks.comparison.foretold import Foretold
from benchmarks.comparison.measure import Case, Contender, Row, measure, transcript


def main() -> None:
    """Measure what was asked for and print it."""
    options = _options()
    only = options.only.split(",")
    chosen = cases(only, options.quick)
    began = time.monotonic()
    rows = [row for case in chosen for row in _measured(case)]
    said = [_foretold(case) for case in foretold.wanted(chosen)]
    sweeps = _sweeps(chosen)
    _say(f"all of it in {time.monotonic() - began:.0f} s")
    part = report(rows, said, sweeps)
    print(part)
    if options.json:
        _write_json(options.json, rows, said, sweeps)
    if options.docs:
        drawn = _draw(rows, sweeps, page.PAGE.parent)
        page.write(f"{part}\n\n{drawn}", page.PAGE)


def report(rows: Sequence[Row], said: Sequence[Foretold], sweeps: tables.Sweeps) -> str:
    """Everything there is to read, as Markdown."""
    parts = [
        tables.contenders(rows),
        tables.orders(rows),
        tables.first_verdicts(rows),
        tables.foretold(said),
        tables.in_flight(sweeps, rows),
        tables.soundness(sweeps, rows),
    ]
    return "\n\n".join(part for part in parts if part)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="few records: does it work at all?")
    parser.add_argument("--json", type=Path, help="file to write everything that was measured to")
    parser.add_argument("--docs", action="store_true", help="write tables and pictures into docs/explanation/")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(GROUPS):
        parser.error(f"--only knows {', '.join(GROUPS)}, not {', '.join(sorted(unknown))}")
    return options


def _measured(case: Case) -> list[Row]:
    rows = []
    for contender in case.contenders:
        row = measure(case, contender, keep_events=_shown(case, contender))
        rows.append(row)
        count = row.counted
        _say(
            f"{row.title} | {row.contender}: {row.measured_s:,.1f} s for {row.done:,} records, {row.to_bound:.2f} of "
            f"the bound, idle {count.idle_share:.1%}, late {count.late_s * 1e3:.0f} ms, real {row.real_s:.0f} s, of "
            f"which the client computed {row.cpu_s / row.real_s:.0%}"
        )
    return rows


def _foretold(case: Case) -> Foretold:
    found = foretold.foretell(case)
    _say(f"{case.title} | planned {found.planned_s} s, took {found.took_s:,.1f} s for {found.records:,} records")
    return found


def _shown(case: Case, contender: Contender) -> bool:
    return case.title == SWAPS and contender.name in (ALONE, OURS)


def _sweeps(chosen: Sequence[Case]) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = {}
    for case in chosen:
        if case.group == "h100":
            debates = transcript(case, case.records)
            found[case.profile.vllm.kv_tokens] = sweep(case.profile, debates, LIMITS)
            _say(f"{case.title}: {len(LIMITS)} numbers of jobs in flight swept")
    return found


def _draw(rows: Sequence[Row], sweeps: tables.Sweeps, folder: Path) -> str:
    shown = {row.contender: row for row in rows if row.events}
    said = []
    if shown:
        pictures.draw_swaps(
            {f"{name}, {row.done:,} records": row.events for name, row in shown.items()}, folder / "swaps.svg"
        )
        said.append("![Which model is loaded when](swaps.svg)")
    if sweeps:
        settled = {}
        for kv_tokens in CACHES:
            row = tables.settled_at(rows, kv_tokens)
            if row is not None and row.outcome.in_flight is not None:
                settled[kv_tokens] = (row.outcome.in_flight, row.done / row.measured_s)
        pictures.draw_cliff(sweeps, settled, folder / "in_flight.svg")
        said.append("![Throughput against debates in flight](in_flight.svg)")
    return "\n\n".join(said)


def _write_json(file: Path, rows: Sequence[Row], said: Sequence[Foretold], sweeps: tables.Sweeps) -> None:
    written = {
        "rows": [{**asdict(row), "to_bound": row.to_bound, "events": len(row.events)} for row in rows],
        "foretold": [{**asdict(each), "apart": each.apart} for each in said],
        "sweeps": {str(kv_tokens): [asdict(point) for point in points] for kv_tokens, points in sweeps.items()},
    }
    file.write_text(json.dumps(written, indent=1), encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
