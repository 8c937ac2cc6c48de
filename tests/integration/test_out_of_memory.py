"""A server that runs out of memory gets less at a time, then less of a model; no record is charged for it."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.model_server import ModelServer
from orchestrator.app.looking import export
from orchestrator.app.verifying import verify
from orchestrator.app.workplace import Workplace
from orchestrator.cli.failing import of_run
from orchestrator.domain import Flag, Mark
from orchestrator.errors import ErrorClass, Guard
from orchestrator.scheduler.run import RunEnd
from tests.integration.places import run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_asks import Refused
from tests.servers.ollama_replies import default_reply

A, B = "qwen2.5:14b", "qwen2.5:3b"
NO_MEMORY = "model requires more system memory (9.0 GiB) than is available (4.1 GiB)"
RECORDS = 12


def settings(url: str, workers: int, backend: str = "ollama") -> str:
    return f'max_workers = {workers}\n[endpoints.gpu]\nbackend = "{backend}"\nurl = "{url}"\n'


def cast(model: str = A) -> dict[str, str]:
    return dict.fromkeys(("advocate", "critic", "judge"), model)


def rows(place: Workplace, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.config.database)) as database:
        return database.execute(question).fetchall()


def refusing(refuses: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], str]:
    """A reply, or the words of an Ollama without memory."""

    def reply(body: dict[str, Any]) -> str:
        if refuses(body):
            raise Refused(500, NO_MEMORY)
        return default_reply(body)

    return reply


def nobody_was_charged(place: Workplace, end: RunEnd, records: int = RECORDS) -> None:
    assert (end.tally.done, end.tally.failed) == (records, 0)
    assert set(end.tally.failures) == {"capacity"}
    assert rows(place, "SELECT max(attempt) FROM turns") == [(1,)]


async def test_ollama_without_memory_gets_fewer(tmp_path: Path) -> None:
    speaking = 0

    async def reply(body: dict[str, Any]) -> str:
        nonlocal speaking
        speaking += 1
        try:
            if speaking > 2:
                raise Refused(500, NO_MEMORY)
            await asyncio.sleep(0.02)
            return default_reply(body)
        finally:
            speaking -= 1

    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, cast(), settings(server.url, 8), records=RECORDS)
        end = await run_here(place)

    nobody_was_charged(place, end)
    assert any("4 in flight instead of 8" in note for note in end.tally.notes)
    assert any(line.startswith("gpu had no room") for line in of_run(end.tally))


async def test_vllm_without_memory_gets_fewer(tmp_path: Path) -> None:
    async with ModelServer("h100", changes=["oom_streams=2"], scale=0.02) as server:
        url = f"{server.url}/v1"
        place = workplace(tmp_path, cast("llama3.1:8b"), settings(url, 8, "vllm"), records=40)
        end = await run_here(place)

    nobody_was_charged(place, end, 40)
    # Six are refused, and two when four are tried: the seats of those refused stay empty for a while.
    assert end.tally.failures[ErrorClass.CAPACITY] <= 8 + 4
    assert any("4 in flight instead of 8" in note for note in end.tally.notes)
    assert end.tally.examples.keys() == {"capacity"}


async def test_server_that_refuses_all_is_paused(tmp_path: Path) -> None:
    began: list[float] = []

    def is_full(_body: dict[str, Any]) -> bool:
        began.append(time.monotonic())
        return began[-1] - began[0] < 1.0

    reply = refusing(is_full)
    async with OllamaStandIn(models=[A], slots=8, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, cast(), settings(server.url, 8), records=RECORDS)
        end = await run_here(place)

    nobody_was_charged(place, end)
    assert end.tally.failures[ErrorClass.CAPACITY] == 8


async def test_card_falls_back_to_smaller_context(tmp_path: Path) -> None:
    reply = refusing(lambda body: body["options"]["num_ctx"] > 4096)
    async with OllamaStandIn(models=[A], slots=1, num_ctx=8192, reply=reply) as server:
        place = workplace(
            tmp_path, cast(), settings(server.url, 1), records=RECORDS, context=8192, fallback_context=4096
        )
        end = await run_here(place)

        contexts = [call.body["options"]["num_ctx"] for call in server.calls if call.kind == "chat"]

    nobody_was_charged(place, end)
    assert contexts.count(8192) <= 3
    assert rows(place, "SELECT DISTINCT model, marks FROM turns") == [(A, "fallback_context")]
    assert end.tally.marks == {Mark.FALLBACK_CONTEXT: 3 * RECORDS}
    assert end.tally.flags[Flag.FALLBACK] == RECORDS
    assert f"gpu: out of memory: {A} with a context of 4096 tokens speaks for {A} now" in end.tally.notes


@pytest.mark.slow
async def test_filled_fallback_context_waits_for_memory(tmp_path: Path) -> None:
    calls = itertools.count()

    def reply(body: dict[str, Any]) -> str:
        if body["options"]["num_ctx"] > 2560 and next(calls) < 1:
            raise Refused(500, NO_MEMORY)
        said = json.loads(default_reply(body))
        return json.dumps(said | {"analysis": "so " * 2_200}) if "analysis" in said else json.dumps(said)

    async with OllamaStandIn(models=[A], slots=1, num_ctx=8192, reply=reply) as server:
        place = workplace(
            tmp_path,
            cast(),
            settings(server.url, 1),
            records=5,
            context=8192,
            reply_limit=3000,
            fallback_context=2560,
        )
        end = await run_here(place)

    nobody_was_charged(place, end, 5)
    assert end.tally.guards[Guard.TRUNCATION] > 0


async def test_card_falls_back_to_other_model(tmp_path: Path) -> None:
    reply = refusing(lambda body: body["model"] == A)
    async with OllamaStandIn(models=[A, B], slots=1, num_ctx=8192, reply=reply) as server:
        place = workplace(tmp_path, cast(), settings(server.url, 1), records=RECORDS, fallback_model=B)
        end = await run_here(place)

        assert server.most_models_wanted == 1

    nobody_was_charged(place, end)
    assert rows(place, "SELECT DISTINCT model, marks FROM turns") == [(B, "fallback_model")]
    assert end.tally.marks == {Mark.FALLBACK_MODEL: 3 * RECORDS}
    assert end.tally.flags[Flag.FALLBACK] == RECORDS
    export(place, tmp_path / "verdicts.csv", None, records=False, force=False)
    with (tmp_path / "verdicts.csv").open(newline="", encoding="utf-8-sig") as file:
        assert all("fallback" in row["flags"] for row in csv.DictReader(file))
    assert verify(place).ok
