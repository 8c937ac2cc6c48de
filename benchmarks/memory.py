"""Memory of the two long commands, while 170,000 records are submitted and then debated.

The run is watched until it ends or `--seconds` are over, and then interrupted: what counts is whether its memory grows
with the turns it has spoken.

    python -m benchmarks.memory [--records 170000] [--seconds 120]
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.whole_way import instant_server, sample, workplace

COMMAND = Path(sys.executable).with_name("orchestrate")
MIB = 2**20
EVERY_S = 5.0


def watched(words: list[str], home: Path, seconds: float) -> list[tuple[float, float]]:
    """Resident memory in MiB of a command every five seconds, interrupted after `seconds`."""
    started = time.monotonic()
    running = subprocess.Popen([COMMAND, *words], cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = []
    watch = psutil.Process(running.pid)
    while running.poll() is None:
        elapsed = time.monotonic() - started
        seen.append((elapsed, watch.memory_info().rss / MIB))
        if elapsed > seconds:
            running.send_signal(signal.SIGINT)
            running.wait(timeout=60)
        try:
            running.wait(timeout=EVERY_S if elapsed > EVERY_S else 0.5)
        except subprocess.TimeoutExpired:
            continue
    return seen


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=170_000)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    print(f"| command, {options.records:,} records | seconds | most, MiB | at a third, MiB | at the end, MiB |")
    print("|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder, instant_server() as port:
        home = Path(folder) / "w"
        workplace(home, "vllm", port)
        file = sample(Path(folder), options.records)
        for words in (["submit", str(file), "--debate", "posting"], ["process-pending"]):
            seen = watched(words, home, options.seconds)
            sizes = [size for _, size in seen]
            third = sizes[len(sizes) // 3]
            print(f"| {words[0]} | {seen[-1][0]:.0f} | {max(sizes):.0f} | {third:.0f} | {sizes[-1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
