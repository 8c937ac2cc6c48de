"""A run against Ollama's rules: few loads, drained before they change, and every option sent."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import RunStatus
from orchestrator.errors import SetupError
from orchestrator.scheduler.tally import Tally
from tests.integration.places import ROOT, run_here, workplace
from tests.servers.ollama import Call, OllamaStandIn, RunnerDied
from tests.servers.ollama_replies import default_reply

A, B = "qwen2.5:7b", "gemma2:9b"
CAST = {"advocate": A, "critic": B, "judge": A}


def settings(url: str, workers: int = 4, **endpoint: Any) -> str:
    extra = "\n".join(f"{name} = {json.dumps(value)}" for name, value in endpoint.items())
    return f'max_workers = {workers}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n{extra}\n'


def chats(server: OllamaStandIn) -> list[Call]:
    return [call for call in server.calls if call.kind == "chat"]


async def test_one_cast_takes_three_loads(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=8192) as server:
        place = workplace(tmp_path, CAST, settings(server.url))

        end = await run_here(place)

        assert end.tally.done == 42
        assert (server.loads, end.tally.swaps) == (3, 3)
        assert (end.tally.limits, end.tally.in_flight) == ({"gpu": 4}, {"gpu": 0})
        assert server.events == [("load", A), ("unload", A), ("load", B), ("unload", B), ("load", A)]
        assert server.most_models_wanted == 1


async def test_models_change_only_when_drained(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=8192, latency_s=0.005) as server:
        place = workplace(tmp_path, CAST, settings(server.url))

        await run_here(place)

        asked = [call for call in server.calls if call.kind in ("chat", "load", "unload")]
        calls = sorted(asked, key=lambda call: call.started)
        for before, after in pairwise(calls):
            if before.model != after.model or after.kind != "chat":
                assert after.kind in ("load", "unload")
                assert all(call.finished <= after.started for call in calls if call.started < after.started)


async def test_every_option_is_always_sent(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=2048) as server:
        card = {"temperature": 0.25, "seed": 7, "context": 8192, "reply_limit": 333}
        place = workplace(tmp_path, CAST, settings(server.url, keep_alive="12m"), records=4, **card)

        await run_here(place)

        recorded = json.loads((ROOT / "tests/recordings/ollama/chat_format_schema.json").read_text())["request"]["body"]
        options = {"num_ctx": 8192, "num_predict": 333, "seed": 7, "temperature": 0.25}
        for call in chats(server):
            assert recorded.keys() <= call.body.keys()
            assert call.body["options"] == options
            assert (call.body["keep_alive"], call.body["truncate"], call.body["stream"]) == ("12m", False, False)
        assert ("reload", A) not in server.events


async def test_room_for_both_needs_no_unload(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A, B], holds=2, slots=4, num_ctx=8192) as server:
        place = workplace(tmp_path, CAST, settings(server.url, holds=2), records=10)

        end = await run_here(place)

        assert end.tally.done == 10
        assert [event for event, _ in server.events] == ["load", "load"]
        verdicts = ["verdict_score" in call.body["format"]["properties"] for call in chats(server)]
        assert verdicts.index(True) < 15  # depth first: long before every critic has spoken


async def test_dead_runner_is_tried_again(tmp_path: Path) -> None:
    deaths = iter([True, True])

    def reply(body: dict[str, Any]) -> str:
        if next(deaths, False):
            raise RunnerDied("")
        return default_reply(body)

    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, CAST, settings(server.url), records=4)

        end = await run_here(place)

        assert (end.tally.done, end.tally.failed) == (4, 0)
        assert dict(end.tally.failures) == {"transient": 2}


async def test_max_tasks_leaves_others_alone(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=8192) as server:
        place = workplace(tmp_path, CAST, settings(server.url))

        first = await run_here(place, max_tasks=5)
        second = await run_here(place, max_tasks=7)

        assert (first.tally.done, first.tally.turns) == (5, 15)
        assert (second.tally.done, second.tally.turns) == (7, 21)
        assert first.status is second.status is RunStatus.DONE
        with place.reading() as reading:
            assert {count.status.value: count.count for count in reading.counts()} == {"done": 12, "pending": 30}


async def test_outage_pauses_and_goes_on(tmp_path: Path) -> None:
    first = OllamaStandIn(models=[A, B], slots=4, num_ctx=8192, latency_s=0.02)
    async with first:
        port = int(first.url.rsplit(":", 1)[1])
        place = workplace(tmp_path, CAST, settings(first.url), records=30)
        tallies: list[Tally] = []
        running = asyncio.create_task(run_here(place, display=tallies.append))
        while len(chats(first)) < 10:
            await asyncio.sleep(0.01)
    while not tallies[0].paused:
        await asyncio.sleep(0.01)
    assert first.url in tallies[0].paused["gpu"].why

    async with OllamaStandIn(models=[A, B], slots=4, num_ctx=8192, port=port) as second:
        end = await running

        assert (end.tally.done, end.tally.failed, end.tally.paused) == (30, 0, {})
        assert len(chats(second)) >= 3 * 30 - len(chats(first))
    assert set(end.tally.failures) <= {"transient"}
    with closing(sqlite3.connect(place.config.database)) as database:
        assert database.execute("SELECT max(attempts) FROM tasks").fetchone() == (0,)


async def test_unknown_model_stops_before_anything(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A], num_ctx=8192) as server:
        place = workplace(tmp_path, CAST, settings(server.url), records=3)

        with pytest.raises(SetupError, match=r"no model 'gemma2:9b'; it has: qwen2.5:7b"):
            await run_here(place)

        assert not chats(server)
