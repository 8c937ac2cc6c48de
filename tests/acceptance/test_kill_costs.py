"""Killed in the middle of a wave and started again: what was loaded is used on, and at most one load comes on top."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.places import Place
from tests.servers.ollama import OllamaStandIn

A, B = "qwen2.5:7b", "gemma2:9b"
CAST = {"advocate": A, "critic": B, "judge": A}
TASKS = 24


def stand_in() -> OllamaStandIn:
    """Room for one model."""
    return OllamaStandIn(models=[A, B], holds=1, slots=4, num_ctx=8192, latency_s=0.03)


def prepared(home: Path, url: str) -> Place:
    home.mkdir()
    place = Place(home)
    place.cards(CAST)
    place.settings(f'max_workers = 4\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n')
    place.run("submit", place.records(TASKS), "--debate", "posting")
    return place


async def undisturbed_loads(home: Path) -> int:
    async with stand_in() as server:
        await asyncio.to_thread(prepared(home, server.url).run, "process-pending")
        return server.loads


async def killed_after(place: Place, server: OllamaStandIn, turns: int) -> None:
    """Run until so many turns were spoken, then end the run as a power cut would."""
    running = place.start("process-pending")
    while sum(call.kind == "chat" for call in server.calls) < turns:
        assert running.poll() is None, running.communicate()
        await asyncio.sleep(0.01)
    running.kill()
    running.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("turns", [TASKS // 2, TASKS + TASKS // 2, 2 * TASKS + TASKS // 2])
async def test_kill_costs_at_most_one_load(tmp_path: Path, turns: int) -> None:
    expected = await undisturbed_loads(tmp_path / "undisturbed")

    async with stand_in() as server:
        place = prepared(tmp_path / "killed", server.url)
        await killed_after(place, server, turns)
        unfinished = place.rows("SELECT count(*) FROM tasks WHERE status <> 'done'")[0][0]
        await asyncio.to_thread(place.run, "process-pending")

    assert unfinished > 0
    assert place.rows("SELECT status, count(*) FROM tasks GROUP BY 1") == [("done", TASKS)]
    assert place.rows("SELECT count(*) FROM turns") == [(3 * TASKS,)]
    assert server.loads <= expected + 1
    print(f"killed after {turns} turns: {server.loads} loads, undisturbed {expected}")
