"""Two runs on one database against one: does the task table let them work side by side?

One run and the server share one core; then two runs and the server share two. Debates a second are counted from the
first turn sent to the last verdict stored, start-up left out.

    python -m benchmarks.two_processes [--debates 5000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import datetime
from pathlib import Path

from benchmarks.memory import COMMAND
from benchmarks.whole_way import sample, workplace
from orchestrator.app.submitting import SubmitRequest, submit


def rate(cores: list[int], runs: int, debates: int) -> float:
    """Debates a second of so many runs on these cores, which they share with the server."""
    pin = ["taskset", "--cpu-list", ",".join(map(str, cores))]
    server = subprocess.Popen(
        [*pin, sys.executable, "-m", "benchmarks.instant_server"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            place = workplace(Path(folder) / "w", "vllm", int(server.stdout.readline()))
            submit(place, SubmitRequest(file=sample(Path(folder), debates), debate="posting"))
            going = [
                subprocess.Popen(
                    [*pin, COMMAND, "process-pending", "--json"], cwd=Path(folder) / "w", stdout=subprocess.DEVNULL
                )
                for _ in range(runs)
            ]
            ends = [run.wait(timeout=600) for run in going]
            if any(ends):
                raise RuntimeError("a run ended badly")
            return debates / busy_s(Path(folder) / "w" / "orchestrate.db")
    finally:
        server.terminate()
        server.wait()


def busy_s(database: Path) -> float:
    """Seconds from the first turn sent to the last one stored."""
    with closing(sqlite3.connect(database)) as rows:
        first, last = rows.execute("SELECT min(started_at), max(finished_at) FROM turns").fetchone()
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def main() -> None:
    """Measure both in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--debates", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    one, two = [], []
    for _ in range(options.rounds):
        one.append(rate(cores[:1], 1, options.debates))
        two.append(rate(cores, 2, options.debates))
    before, after = statistics.median(one), statistics.median(two)
    print("| one run on one core, debates/s | two runs on two cores | ratio |")
    print("|--:|--:|--:|")
    print(f"| {before:.0f} | {after:.0f} | {after / before:.2f} |")


if __name__ == "__main__":
    main()
