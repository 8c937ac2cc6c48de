"""A server breaks for a while and is well again: no record pays for it, and nobody has to do anything.

There is one outage for each way to be treated. What each broken reply does to one record is in sins.py.
"""

from __future__ import annotations

import asyncio
from math import ceil
from pathlib import Path

import pytest

from orchestrator.domain import RunStatus
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.front import BrokenForAWhile
from tests.faults.nights import rows
from tests.integration.places import run_here, workplace
from tests.servers.hostile import Sin, breaks_off, closes_at_once, hangs, says

MODELS = ["qwen2.5:7b", "gemma2:9b"]
CAST = dict(zip(("advocate", "critic", "judge"), (*MODELS, MODELS[0]), strict=True))
RECORDS = 12
WORKERS = 4
TIMES = 5
MOMENTS = (0, 5)  # calls before the outage: nothing has gone well yet, and some have
UNKNOWN = {"error": "model 'qwen2.5:7b' not found"}

FAULTS: dict[str, Sin] = {
    "connection closed": closes_at_once,
    "500": says({"error": "llama runner process has terminated"}, 500),
    "429 with Retry-After": says({"error": "too many requests"}, 429, Retry_After="1"),
    "hang": hangs,
    "half a body": breaks_off,
}

pytestmark = pytest.mark.slow


def settings(url: str) -> str:
    return f'max_workers = {WORKERS}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\nholds = 2\n'


async def survive(name: str, home: Path, at: int) -> int:
    """One run through one fault; how many calls it made again."""
    async with BrokenForAWhile(MODELS, FAULTS[name], after=at, times=TIMES) as server:
        patience = 1.0 if FAULTS[name] is hangs else 30.0
        place = workplace(home, CAST, settings(server.url), records=RECORDS, timeout_s=patience)

        end = await run_here(place)

        database = place.config.database
        assert server.times == 0, f"{name}: the fault was never met"
        assert (end.status, end.tally.done, end.tally.failed) == (RunStatus.DONE, RECORDS, 0), name
        assert rows(database, "SELECT count(*) FROM turns") == [(3 * RECORDS,)]
        assert Audit().breaches(database, home) == []
        return server.calls - 3 * RECORDS


async def test_broken_server_costs_no_record(tmp_path: Path) -> None:
    tries = [(name, at) for name in FAULTS for at in MOMENTS]

    async with asyncio.timeout(120):
        repeated = await asyncio.gather(
            *(survive(name, tmp_path / str(number), at) for number, (name, at) in enumerate(tries))
        )

    for name in FAULTS:
        again = sum(calls for (tried, _), calls in zip(tries, repeated, strict=True) if tried == name)
        points = TIMES * len(MOMENTS)
        report.line(f"F12 server: {name}", points, points, 0, 0, again, ceil(again / points), len(MOMENTS))


async def test_vanished_model_stops_the_run(tmp_path: Path) -> None:
    async with BrokenForAWhile(MODELS, says(UNKNOWN, 404), after=5, times=TIMES) as server:
        place = workplace(tmp_path / "place", CAST, settings(server.url), records=RECORDS)

        stopped = await run_here(place)
        server.times = 0
        end = await run_here(place)
        repeated = server.calls - 3 * RECORDS

    database = place.config.database
    assert stopped.status is RunStatus.FAILED
    assert "not found" in str(stopped.error)
    assert stopped.tally.done + end.tally.done == RECORDS
    assert (stopped.tally.failed, end.tally.failed) == (0, 0)
    assert rows(database, "SELECT max(attempt) FROM attempts") in [[(None,)], [(1,)]]
    assert Audit().breaches(database, place.config.home) == []
    report.line("F12 server: model taken away", 1, 1, 0, 0, repeated, repeated, 1)
