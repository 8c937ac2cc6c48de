"""The quickstart's first tour, line by line as it stands there, in an empty folder and with the real command."""

from __future__ import annotations

import csv
import os
import re
import subprocess

import pytest

from tests.acceptance.places import COMMAND, ROOT, Place

QUICKSTART = ROOT / "docs/quickstart.md"
_TOUR = re.compile(r"^## The first tour\n(.*?)^## ", re.M | re.S)
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def tour() -> str:
    """The shell lines of the first tour as one script."""
    found = _TOUR.search(QUICKSTART.read_text(encoding="utf-8"))
    assert found is not None
    return "".join(_BLOCK.findall(found[1]))


@pytest.mark.slow
def test_first_tour_runs_as_it_stands(place: Place) -> None:
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"

    # -e ends at the first line that fails, and -x names it.
    done = subprocess.run(
        ["sh", "-eux", "-c", tour()],
        cwd=place.home,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    with (place.home / "verdicts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"done"}
    assert len(rows) == 44
    assert {"a1", "a2"} < {row["key"] for row in rows}
    assert (place.home / "mine.bad.jsonl").read_text().count("\n") == 1


def test_first_tour_shows_what_submit_says(place: Place) -> None:
    place.run("init")

    said = place.run("submit", "prompts/posting/sample.jsonl", "--debate", "posting")

    assert said in QUICKSTART.read_text(encoding="utf-8")


def test_first_tour_uses_every_first_command() -> None:
    lines = tour().splitlines()
    used = {line.split()[1] for line in lines if line.startswith("orchestrate ")}

    assert used >= {"init", "doctor", "submit", "plan", "process-pending", "status", "show", "export"}
