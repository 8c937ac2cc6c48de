"""Before the first record: an endpoint that is still loading is as one that is down, and what is wrong is named."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.app.doctor import examine
from orchestrator.app.findings import Health
from orchestrator.app.planning import plan
from orchestrator.errors import SetupError, UnreachableError
from tests.integration.places import run_here, workplace
from tests.servers.hostile import HostileServer, Sin, nobody_listens, says
from tests.servers.ollama import OllamaStandIn

A = "qwen2.5:7b"
CAST = dict.fromkeys(("advocate", "critic", "judge"), A)
LOADING = says({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)


def table(name: str, url: str, backend: str = "ollama") -> str:
    return f'[endpoints.{name}]\nbackend = "{backend}"\nmodels = ["{A}"]\nslots = 2\nurl = "{url}"\n'


async def test_loading_replica_is_left_to_wait(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A], slots=2, num_ctx=8192) as server, HostileServer(LOADING) as late:
        place = workplace(tmp_path, CAST, table("up", server.url) + table("late", late.url, "vllm"), records=6)

        end = await run_here(place)

    assert (end.tally.done, end.tally.failed, end.error) == (6, 0, None)
    assert "Loading model" in end.tally.paused["late"].why


async def test_paused_replica_says_until_when(tmp_path: Path) -> None:
    busy = says({"error": "busy"}, 429, Retry_After="1800")
    async with OllamaStandIn(models=[A], slots=2, num_ctx=8192) as server, HostileServer(busy) as late:
        place = workplace(tmp_path, CAST, table("up", server.url) + table("late", late.url), records=2)

        end = await run_here(place)

    pause = end.tally.paused["late"]
    assert pause.until is not None
    assert timedelta(minutes=29) < pause.until - pause.since <= timedelta(minutes=30)
    assert f"left alone until {pause.until:%Y-%m-%d %H:%M:%S} UTC as it asked: " in end.tally.pauses()


async def test_plan_leaves_out_a_loading_replica(tmp_path: Path) -> None:
    async with HostileServer(says({"models": []})) as server, HostileServer(LOADING) as late:
        place = workplace(tmp_path, CAST, table("up", server.url) + table("late", late.url), records=6)

        said = await asyncio.to_thread(plan, place, None)

    assert {each.endpoint: (each.answers, each.turns) for each in said.endpoints} == {
        "up": (True, 18),
        "late": (False, 0),
    }


async def test_run_without_another_replica_says_loading(tmp_path: Path) -> None:
    async with HostileServer(LOADING) as late:
        place = workplace(tmp_path, CAST, table("late", late.url, "vllm"), records=1)

        with pytest.raises(UnreachableError, match=r"endpoint 'late': .*Loading model \(is it still loading\?"):
            await run_here(place)


async def test_run_without_any_server_asks_for_it(tmp_path: Path) -> None:
    with nobody_listens() as url:
        place = workplace(tmp_path, CAST, table("gone", url), records=1)

        with pytest.raises(UnreachableError, match=r"endpoint 'gone': .* does not answer.*\(is it running\?\)"):
            await run_here(place)


@pytest.mark.parametrize("url", ["http://169.254.169.254:80", "http://127.0.0.1:99999"])
async def test_refused_address_names_its_endpoint(tmp_path: Path, url: str) -> None:
    place = workplace(tmp_path, CAST, table("gpu", url), records=1)

    with pytest.raises(SetupError, match=r"^endpoint 'gpu': "):
        await run_here(place)


@pytest.mark.parametrize("sin", [says("", 302, Location="http://127.0.0.1:1/"), says({"error": "no"}, 401)])
async def test_refusing_server_names_its_endpoint(tmp_path: Path, sin: Sin) -> None:
    async with HostileServer(sin) as server:
        place = workplace(tmp_path, CAST, table("gpu", server.url), records=1)

        with pytest.raises(SetupError, match=r"^endpoint 'gpu': "):
            await run_here(place)


async def test_broken_card_blames_no_endpoint(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A]) as server:
        place = workplace(tmp_path, CAST, table("gpu", server.url), records=1)
        (tmp_path / "actors/critic.toml").write_text("role = ")

        found = await asyncio.to_thread(examine, place.config.home, None, "posting")

    (endpoint,) = (each for each in found if each.about == "endpoint gpu")
    assert endpoint.health is Health.GOOD
    assert "no card wants" not in endpoint.text


async def test_endpoint_that_no_card_wants_is_noted(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[A]) as server, OllamaStandIn(models=["other"]) as spare:
        place = workplace(
            tmp_path, CAST, table("gpu", server.url) + table("spare", spare.url).replace(A, "other"), records=1
        )

        found = await asyncio.to_thread(examine, place.config.home, None, "posting")

    (endpoint,) = (each for each in found if each.about == "endpoint spare")
    assert endpoint.health is Health.NOTE
    assert "no card wants a model of it" in endpoint.text
