"""How long `orchestrate --help` takes, beside importing Typer alone: the floor of any program made with it.

python -m benchmarks.start_up
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
COMMANDS = {
    "orchestrate --help": [str(Path(sys.executable).with_name("orchestrate")), "--help"],
    "import typer": [sys.executable, "-c", "import typer"],
}


def seconds(command: list[str]) -> float:
    """How long one command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Run both in turn, and print their medians and the ratio."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    ours, floor = (statistics.median(times) for times in taken.values())
    print("| `orchestrate --help`, ms | `import typer`, ms | ratio |")
    print("|--:|--:|--:|")
    print(f"| {1000 * ours:.0f} | {1000 * floor:.0f} | {ours / floor:.1f} |")


if __name__ == "__main__":
    main()
