"""What a run does about servers that cut prompts, fill the context, load a model again, or let a call hang."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.app.looking import status
from orchestrator.app.workplace import Workplace
from orchestrator.cli.tables import status as print_status
from tests.integration.places import ROOT, run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply

A, B, TWIN = "qwen2.5:7b", "gemma2:9b", "qwen2.5-judge"
ONE = dict.fromkeys(["advocate", "critic", "judge"], A)
RECORDINGS = ROOT / "tests/recordings/ollama"


def settings(url: str, **endpoint: Any) -> str:
    extra = "\n".join(f"{name} = {json.dumps(value)}" for name, value in endpoint.items())
    return f'max_workers = 1\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n{extra}\n'


def attempts(place: Workplace) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(place.config.database)) as database:
        return database.execute("SELECT error_class, error, reply FROM attempts ORDER BY id").fetchall()


def verdicts(place: Workplace) -> int:
    with closing(sqlite3.connect(place.config.database)) as database:
        count: int = database.execute("SELECT count(*) FROM verdicts").fetchone()[0]
        return count


async def test_prompts_cut_in_silence_get_no_verdict(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A], cuts_at=300) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=5)

        end = await run_here(place)

    assert (end.tally.done, end.tally.failed, verdicts(place)) == (0, 5, 0)
    assert dict(end.tally.failures) == {"overflow": 5}
    for kind, error, reply in attempts(place):
        assert kind == "overflow"
        assert "the server read only 152 tokens of a prompt that has at least" in error
        assert json.loads(reply)["analysis"]


async def test_prompt_too_long_is_never_sent(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A]) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=3, context=256)

        end = await run_here(place)

        assert [call.kind for call in server.calls if call.kind == "chat"] == []
    assert (end.tally.failed, verdicts(place)) == (3, 0)
    assert all("nothing was sent" in error for _, error, _ in attempts(place))


async def test_reply_that_fills_the_context_is_no_verdict(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        said = json.loads(default_reply(body))
        return json.dumps(said | {"analysis": "so " * 5_000})

    async with OllamaStandIn(models=[A], reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=2, context=4096, reply_limit=9000)

        end = await run_here(place)

    assert (end.tally.failed, verdicts(place)) == (2, 0)
    assert all("filled the context" in error for _, error, _ in attempts(place))


async def test_unasked_load_is_counted_by_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strangers: list[asyncio.Task[None]] = []
    calls = 0

    async def reply(body: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        if calls == 7:
            strangers.append(asyncio.create_task(stranger(server.url)))
            await somebody_waits(server)
        return default_reply(body)

    async with OllamaStandIn(models=[A], load_s=0.3, reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=6)

        end = await run_here(place)

        await asyncio.gather(*strangers)
        assert server.events == [("load", A), ("reload", A), ("reload", A)]
    assert end.tally.done == 6
    assert dict(end.tally.reloads) == {A: 1}
    assert end.tally.reload_s > 0.5
    seen = status(place)
    assert [(each.endpoint, each.model, each.count) for each in seen.reloads] == [("gpu", A, 1)]
    assert seen.runs[0].swaps == end.tally.swaps == 2
    print_status(seen, json=False)
    assert f"run 1: gpu loaded {A} again unasked: 1 time, 0." in capsys.readouterr().out


async def somebody_waits(server: OllamaStandIn) -> None:
    while not server.waiting:
        await asyncio.sleep(0.001)


async def stranger(url: str) -> None:
    """Another program, which uses the same model with another context."""
    body = {
        "model": A,
        "messages": [{"role": "user", "content": "x"}],
        "stream": False,
        "options": {"num_ctx": 512, "num_predict": 4},
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/chat", json=body) as response:
        await response.read()


async def test_several_turns_that_wait_for_a_load_count_once(tmp_path: Path) -> None:
    strangers: list[asyncio.Task[None]] = []
    all_in_flight, calls = asyncio.Event(), 0

    async def reply(body: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        if calls == 4:
            strangers.append(asyncio.create_task(stranger(server.url)))
            await somebody_waits(server)
            all_in_flight.set()
        await all_in_flight.wait()
        return default_reply(body)

    async with OllamaStandIn(models=[A], slots=4, load_s=0.3, reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url).replace("= 1", "= 4"), records=8)

        end = await run_here(place)

        await asyncio.gather(*strangers)
        assert server.events.count(("reload", A)) == 2
    assert end.tally.done == 8
    assert dict(end.tally.reloads) == {A: 1}


class HangingClock:
    """Time stands still but for a second with every reply; while a call hangs it passes for whoever sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.hanging = False

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        if self.hanging:
            self.seconds += seconds
        await asyncio.sleep(0.002)

    async def hang(self) -> None:
        """Far longer than any call should be waited for."""
        while self.seconds < 20_000:
            await asyncio.sleep(0.002)


async def test_hanging_call_is_given_up_and_said_again(tmp_path: Path) -> None:
    clock, calls = HangingClock(), 0

    async def reply(body: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        clock.seconds += 1.0
        clock.hanging = calls == 100
        if clock.hanging:
            await clock.hang()
        return default_reply(body)

    async with OllamaStandIn(models=[A], reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=42, timeout_s=3600)

        end = await run_here(place, clock=clock)

    assert (end.tally.done, end.tally.failed) == (42, 0)
    assert dict(end.tally.failures) == {"transient": 1}
    (kind, error, _) = attempts(place)[0]
    assert kind == "transient"
    assert "gpu stalled: no reply after" in error
    assert "timeout_s (3600 s)" in error
    assert clock.seconds < 700


@pytest.mark.parametrize(("hangs", "failed", "done"), [(2, 2, 42), (1000, 5, 41)])
async def test_stalled_turn_has_all_its_attempts(tmp_path: Path, hangs: int, failed: int, done: int) -> None:
    clock, calls, stalled = HangingClock(), 0, list[Any]()

    async def reply(body: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        clock.seconds += 1.0
        # What is said between two hangs of the same turn shows that the server is well.
        clock.hanging = (calls == 70 or body["messages"] in stalled) and len(stalled) < hangs
        if clock.hanging:
            stalled.append(body["messages"])
            await clock.hang()
        return default_reply(body)

    async with OllamaStandIn(models=[A], reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=42, timeout_s=3600)

        end = await run_here(place, clock=clock)

    assert (end.tally.done, end.tally.failed) == (done, 42 - done)
    assert dict(end.tally.failures) == {"transient": failed}
    assert all("gpu stalled" in error for _, error, _ in attempts(place))


async def test_earlier_run_says_when_a_call_hangs(tmp_path: Path) -> None:
    clock, hangs_at, calls = HangingClock(), 0, 0

    async def reply(body: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        clock.seconds += 1.0
        clock.hanging = calls == hangs_at
        if clock.hanging:
            await clock.hang()
        return default_reply(body)

    async with OllamaStandIn(models=[A], reply=reply) as server:
        place = workplace(tmp_path, ONE, settings(server.url), records=22, timeout_s=3600)
        await run_here(place, clock=clock, max_tasks=20)
        hangs_at = calls + 2

        end = await run_here(place, clock=clock)

    assert (end.tally.done, end.tally.failed) == (2, 0)
    assert ["gpu stalled" in error for _, error, _ in attempts(place)] == [True]


async def test_servers_own_context_is_not_the_cards(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A], num_ctx=8192) as server:
        gpu = settings(f"{server.url}/v1").replace("ollama", "vllm")
        place = workplace(tmp_path, ONE, gpu, records=2, context=256)

        end = await run_here(place)

    assert (end.tally.done, end.tally.failed) == (2, 0)
