"""The one line that each scenario leaves: printed, and kept as JSON in the file that the documents are made from."""

from __future__ import annotations

import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261121
LONG = os.environ.get("FAULTS") == "long"


def many(short: int, long: int) -> int:
    """How often to put a fault in: FAULTS=long asks for the long suite."""
    return long if LONG else short


def line(
    name: str,
    points: int,
    survived: int,
    lost: int,
    doubled: int,
    repeated: int,
    most: int,
    verified: int,
    *,
    seed: int = SEED,
) -> None:
    """Print and keep what came of one scenario.

    `points` are the faults put in, `survived` those after which the same command went on to the end and the database
    kept its promises. `lost` are acknowledged turns that are not there, `doubled` turns and verdicts that are there
    twice or were asked for again after they were stored. `repeated` are calls made again, `most` those after one fault.
    `verified` are the databases left behind that `orchestrate db verify` looked over.
    """
    length = "long" if LONG else "short"
    figures = {"points": points, "survived": survived, "lost": lost, "doubled": doubled, "repeated": repeated}
    said = ", ".join(f"{figure} {word}" for word, figure in figures.items())
    print(f"{name} [{length}, seed {seed}]: {said}, at most {most} after one fault, {verified} verified")
    path = Path(os.environ.get("FAULT_REPORT", ROOT / "build" / "faults.jsonl"))
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"name": name, "length": length, "seed": seed, **figures, "most": most, "verified": verified}
    # One write: scenarios side by side append whole lines.
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(kept).encode() + b"\n")
