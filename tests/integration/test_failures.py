"""A run that goes wrong stops and says why; what cannot work is not tried for long; what failed is told by its text."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.failing import errors
from orchestrator.app.looking import status
from orchestrator.app.workplace import Workplace
from orchestrator.cli import failing, tables
from orchestrator.cli.runs import exit_code
from orchestrator.domain import RunStatus, TaskStatus
from orchestrator.errors import ErrorClass, SetupError, TooManyFailuresError
from orchestrator.scheduler.run import RunEnd
from tests.integration.places import run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply

A = "qwen2.5:7b"
CAST = dict.fromkeys(("advocate", "critic", "judge"), A)
RECORDS = 42


def settings(url: str, more: str = "") -> str:
    return f'max_workers = 4\n{more}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n'


def rubbish(_body: dict[str, Any]) -> str:
    return "I would rather talk about the weather."


def statuses(place: Workplace) -> Counter[TaskStatus]:
    with place.reading() as reading:
        return Counter({count.status: count.count for count in reading.counts()})


async def stopped(home: Path, ceiling: str, good: int = 0) -> tuple[RunEnd, Workplace, int]:
    """A run of a model that talks rubbish after some good replies; its end, its place, and its calls."""
    spoken = iter(range(good))

    def reply(body: dict[str, Any]) -> str:
        return default_reply(body) if next(spoken, None) is not None else rubbish(body)

    async with OllamaStandIn(models=[A], slots=4, num_ctx=8192, reply=reply) as server:
        place = workplace(home, CAST, settings(server.url, f'max_failures = "{ceiling}"'), records=RECORDS)
        end = await run_here(place)
        return end, place, sum(call.kind == "chat" for call in server.calls)


async def test_number_of_failures_stops_the_run(tmp_path: Path) -> None:
    end, place, _ = await stopped(tmp_path, "3")

    assert (end.status, exit_code(end)) == (RunStatus.FAILED, 1)
    assert isinstance(end.error, TooManyFailuresError)
    assert "--max-failures 3" in str(end.error)
    assert "the class shape" in str(end.error)
    assert 4 <= end.tally.failed <= 3 + 4
    assert statuses(place)[TaskStatus.PENDING] == RECORDS - end.tally.failed


async def test_share_waits_for_twenty_tasks(tmp_path: Path) -> None:
    end, place, _ = await stopped(tmp_path, "5%", good=3 * 10)

    assert isinstance(end.error, TooManyFailuresError)
    assert end.tally.failed + end.tally.done >= 20
    assert end.tally.failed + end.tally.done <= 20 + 4
    assert statuses(place)[TaskStatus.LEASED] == 0


async def test_run_within_its_ceiling_goes_on(tmp_path: Path) -> None:
    end, _, _ = await stopped(tmp_path, "100%", good=3 * 10)

    assert (end.status, end.error) == (RunStatus.DONE, None)
    assert end.tally.failed > 20
    assert end.tally.done + end.tally.failed == RECORDS


async def test_same_error_twice_is_not_tried_again(tmp_path: Path) -> None:
    end, _, _ = await stopped(tmp_path, "")

    assert end.tally.given_up == {ErrorClass.SHAPE: RECORDS}
    assert end.tally.failures == {ErrorClass.SHAPE: 2 * RECORDS}


async def test_errors_with_same_text_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, place, _ = await stopped(tmp_path, "")

    found = errors(place, None, None, 5)
    failing.errors(found, json=False)
    said = capsys.readouterr().out

    assert [(group.error_class.value, group.attempts) for group in found.groups] == [("shape", 2 * RECORDS)]
    assert len(found.newest) == 5
    assert f"posting: shape: {2 * RECORDS} failed attempts, {RECORDS} tasks given up" in said
    assert f"{2 * RECORDS} × the reply is not valid JSON" in said
    assert "retry --class shape" in said


async def test_pause_is_told_in_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = OllamaStandIn(models=[A], slots=4, num_ctx=8192, latency_s=0.02)
    async with first:
        port = int(first.url.rsplit(":", 1)[1])
        place = workplace(tmp_path, CAST, settings(first.url), records=20)
        running = asyncio.create_task(run_here(place))
        while sum(call.kind == "chat" for call in first.calls) < 10:
            await asyncio.sleep(0.01)
    while not status(place).runs[0].reason:
        await asyncio.sleep(0.01)
    tables.status(status(place), json=False)
    said = capsys.readouterr().out

    async with OllamaStandIn(models=[A], slots=4, num_ctx=8192, port=port):
        end = await running

    assert "PAUSED, run 1: gpu paused since 20" in said
    assert f"{first.url} does not answer" in said
    assert (end.tally.done, end.tally.failed) == (20, 0)
    assert status(place).runs[0].reason == ""


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [("qwen2.5:14b", "did you mean 'qwen2.5:7b'"), ("qwen25:7b", "did you mean 'qwen2.5:7b'"), ("zephyr", "it has: ")],
)
async def test_missing_model_names_the_nearest(tmp_path: Path, wanted: str, hint: str) -> None:
    async with OllamaStandIn(models=[A, "gemma2:9b"], num_ctx=8192) as server:
        place = workplace(tmp_path, CAST, settings(server.url), records=1, fallback_model=wanted)

        with pytest.raises(SetupError) as caught:
            await run_here(place)

        assert not any(call.kind == "chat" for call in server.calls)

    assert f"no model '{wanted}'" in str(caught.value)
    assert hint in str(caught.value)
    assert "gemma2:9b, qwen2.5:7b" in str(caught.value)
