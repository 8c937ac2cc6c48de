"""An endpoint that fails everything costs the night time, not its records; a record that fails costs itself alone."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import Claim, Role, Turn
from tests.integration.places import run_here, workplace
from tests.servers.ollama import OllamaStandIn, RunnerDied
from tests.servers.ollama_replies import default_reply

A, B = "qwen2.5:7b", "gemma2:9b"
CAST = {"advocate": A, "critic": A, "judge": A}


def settings(url: str, attempts: int = 2) -> str:
    return f'max_workers = 8\nmax_attempts = {attempts}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n'


def reply_of(body: dict[str, Any], dies: Callable[[str], bool]) -> str:
    """A proper reply, or the runner's death."""
    if dies(json.dumps(body["messages"])):
        raise RunnerDied("")
    return default_reply(body)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_storm_of_500s_eats_no_attempts(tmp_path: Path, attempts: int) -> None:
    deaths = iter(range(10))

    def reply(body: dict[str, Any]) -> str:
        return reply_of(body, lambda _: next(deaths, None) is not None)

    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, CAST, settings(server.url, attempts), records=20)

        end = await run_here(place)

        assert (end.tally.done, end.tally.failed) == (20, 0)
        assert sum(call.status == 500 for call in server.calls) >= 10


async def test_server_that_fails_now_and_then_loses_nothing(tmp_path: Path) -> None:
    calls = itertools.count()

    def reply(body: dict[str, Any]) -> str:
        return reply_of(body, lambda _: next(calls) % 3 == 0)

    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, CAST, settings(server.url, attempts=8), records=20)

        end = await run_here(place)

        assert (end.tally.done, end.tally.failed) == (20, 0)


async def test_trial_call_alone_is_no_recovery(tmp_path: Path) -> None:
    turns = itertools.count()

    def reply(body: dict[str, Any]) -> str:
        is_trial = "ready" in json.dumps(body["format"])
        return reply_of(body, lambda _: not is_trial and next(turns) < 12)

    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, CAST, settings(server.url, attempts=5), records=20)

        end = await run_here(place)

        died = sum(call.status == 500 for call in server.calls)

    # Eight at once open the breaker; after each trial call that goes well one turn is tried alone.
    assert (end.tally.done, end.tally.failed, died) == (20, 0, 12)


async def test_broken_code_holds_nothing_up(tmp_path: Path) -> None:
    broken = iter([True])

    def watch(claim: Claim, _messages: object, turn: Turn) -> None:
        if turn.role is Role.CRITIC and next(broken, False):
            raise RuntimeError(f"a fault of our own at {claim.key}")

    async with OllamaStandIn(models=[A, B], slots=8, num_ctx=8192) as server:
        place = workplace(tmp_path, CAST | {"judge": B}, settings(server.url), records=6)

        async with asyncio.timeout(20):
            end = await run_here(place, watch=watch)

        assert end.tally.done == 6
        assert end.tally.lost == 1


async def test_poisonous_records_fail_alone(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        return reply_of(body, lambda text: "Parking and Curbside" in text or "Stroke and Rehabilitation" in text)

    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, CAST, settings(server.url), records=12)

        end = await run_here(place)

        assert (end.tally.done, end.tally.failed) == (10, 2)
