"""The model server answers as the recorded vLLM did, and caches, queues, sleeps and refuses as it did."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.model_server import ModelServer, Profile
from tests.servers.comparing import facts, read, shape

RECORDINGS = Path(__file__).parents[1] / "recordings" / "vllm"
ONE_BY_ONE = (
    "auth_missing auth_wrong auth_models_no_key auth_health_no_key bad_schema_unsupported_keyword "
    "best_temperature_negative chat_bad_json chat_bad_schema chat_bad_temperature chat_basic "
    "chat_context_overflow_max_tokens chat_context_overflow_prompt chat_guided_json_old chat_json_schema "
    "chat_json_schema_truncated chat_length chat_no_messages chat_priority chat_stop chat_stream chat_stream_usage "
    "chat_structured_outputs_choice chat_structured_outputs_json chat_unknown_field chat_unknown_model health "
    "is_sleeping max_tokens_zero method_not_allowed not_found reset_prefix_cache sleep_level1 sleep_no_dev_mode "
    "two_structured_constraints v1_models version wake_up"
)
PREFIXES_IN_ORDER = (
    "prefix_1_first prefix_2_repeat_identical prefix_3_shared_system_other_user prefix_4_other_prefix "
    "prefix_5_cache_salt"
)
COUNTERS = ("prefix_cache_queries_total", "prefix_cache_hits_total", "prompt_tokens_total")
NAMES = (*COUNTERS, "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
SCALE = 0.001
# A reply takes 160 simulated seconds, so that others can come meanwhile.
SLOW = 1.0


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def recording_server(meta: dict[str, Any] | None = None, decode: float = 1e4, **vllm: Any) -> ModelServer:
    """The recorded server, with the settings that a recording's `meta` tells of."""
    args = (meta or {}).get("args", "")
    settings = {"block_size": 32, "max_model_len": 4096, "priority": "ignored", "dev_mode": "DEV_MODE" in args}
    settings |= {"api_key": "sekret"} if "--api-key" in args else {}
    profile = {
        "kind": "vllm",
        "vllm": settings | vllm,
        "replies": {"tokens": 160, "chars_per_token": 3.75},
        "models": [{"name": "tiny-llama", "prefill": 1e5, "decode": decode}],
    }
    return ModelServer(Profile.model_validate(profile), scale=SCALE)


async def replay(session: aiohttp.ClientSession, server: ModelServer, request: dict[str, Any]) -> tuple[int, str, str]:
    body = request["body"]
    raw = body if isinstance(body, str | None) else json.dumps(body)
    asked = (request["method"], server.url + request["path"])
    async with session.request(*asked, data=raw, headers=request["headers"], skip_auto_headers=["Content-Type"]) as got:
        return got.status, got.headers.get("Content-Type", ""), await got.text()


async def ask(session: aiohttp.ClientSession, server: ModelServer, text: str, **more: Any) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": text}]} | more
    async with session.post(f"{server.url}/v1/chat/completions", json=body) as response:
        return response.status, await response.json()


async def metrics(session: aiohttp.ClientSession, server: ModelServer) -> dict[str, float]:
    async with session.get(f"{server.url}/metrics") as response:
        return values(await response.text())


def values(text: str) -> dict[str, float]:
    found = re.findall(r'^vllm:(\w+)\{engine="0",model_name="[^"]+"\} (\S+)$', text, re.M)
    return {name: float(value) for name, value in found if name in NAMES}


async def until(server: ModelServer, **wanted: int) -> None:
    async with asyncio.timeout(10):
        while any(server.stats()["levels"].get(name, {}).get("now") != value for name, value in wanted.items()):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", ONE_BY_ONE.split())
async def test_replay_gives_the_recorded_answer(session: aiohttp.ClientSession, name: str) -> None:
    recording = recorded(name)
    expected = recording["response"]

    async with recording_server(recording["meta"]) as server:
        status, content_type, text = await replay(session, server, recording["request"])

    lines = "\n".join(line for _, line in expected.get("lines", []))
    body, expected_body = read(content_type, text), expected.get("json", read("event", lines) if lines else "")
    assert status == expected["status"]
    assert content_type.removeprefix("application/octet-stream") == expected["headers"].get("content-type", "")
    assert facts(body) == facts(expected_body)
    if lines:
        body, expected_body = body[:2] + body[-3:], expected_body[:2] + expected_body[-3:]
    assert shape(body) == shape(expected_body)


async def test_blocks_are_cached_as_recorded(session: aiohttp.ClientSession) -> None:
    recordings = [recorded(name) for name in PREFIXES_IN_ORDER.split()]
    expected = [recording["response"]["json"]["usage"] for recording in recordings]

    async with recording_server(recordings[0]["meta"]) as server:
        answers = [await replay(session, server, recording["request"]) for recording in recordings]
        counted = await metrics(session, server)

    usages = [json.loads(text)["usage"] for _, _, text in answers]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached == [usage["prompt_tokens_details"]["cached_tokens"] for usage in expected]
    prompts = [usage["prompt_tokens"] for usage in usages]
    assert prompts == pytest.approx([usage["prompt_tokens"] for usage in expected], rel=0.01)
    assert [counted[name] for name in COUNTERS] == [sum(prompts), sum(cached), sum(prompts)]


async def test_metrics_have_the_recorded_names(session: aiohttp.ClientSession) -> None:
    recording = recorded("metrics_prefix_3")

    async with recording_server(recording["meta"]) as server:
        status, content_type, text = await replay(session, server, recording["request"])

    assert (status, content_type) == (200, recording["response"]["headers"]["content-type"])
    assert values(text).keys() == values(recording["response"]["text"]).keys() == set(NAMES)


async def test_no_caching_caches_nothing(session: aiohttp.ClientSession) -> None:
    recording = recorded("prefix_off_2")

    async with recording_server(prefix_caching=False) as server:
        for _ in range(2):
            _, _, text = await replay(session, server, recording["request"])

    expected = recording["response"]["json"]["usage"]["prompt_tokens_details"]
    assert json.loads(text)["usage"]["prompt_tokens_details"] == expected


async def test_full_engine_refuses_as_recorded(session: aiohttp.ClientSession) -> None:
    recording = recorded("queue_full_reject")
    async with recording_server(decode=SLOW, max_num_seqs=1, max_num_queued_reqs=2) as server:
        server_busy = [asyncio.create_task(ask(session, server, text)) for text in "ab"]
        await until(server, running=1, waiting=1)
        load = await metrics(session, server)
        status, _, text = await replay(session, server, recording["request"])
        await asyncio.gather(*server_busy)

    assert (load["num_requests_running"], load["num_requests_waiting"]) == (1, 1)
    assert 0 < load["kv_cache_usage_perc"] < 1
    assert (status, json.loads(text)) == (503, recording["response"]["json"])


@pytest.mark.parametrize(("rule", "status"), [("refused", 400), ("ignored", 200), ("honoured", 200)])
async def test_priority_follows_the_setting(session: aiohttp.ClientSession, rule: str, status: int) -> None:
    async with recording_server(priority=rule) as server:
        answers = [await ask(session, server, "x", priority=priority) for priority in (0, 1)]

    assert [answer[0] for answer in answers] == [200, status]


async def test_honoured_priority_overtakes(session: aiohttp.ClientSession) -> None:
    async with recording_server(decode=SLOW, priority="honoured", max_num_seqs=1) as server:
        order: list[int] = []

        async def one(priority: int) -> None:
            await ask(session, server, f"p{priority}", priority=priority)
            order.append(priority)

        tasks = [asyncio.create_task(one(0))]
        await until(server, running=1)
        for count, priority in enumerate((5, 3), start=1):
            tasks.append(asyncio.create_task(one(priority)))
            await until(server, waiting=count)
        await asyncio.gather(*tasks)

    assert order == [0, 3, 5]


async def test_sleep_aborts_and_then_hangs(session: aiohttp.ClientSession) -> None:
    async with recording_server({"args": "DEV_MODE"}, decode=SLOW) as server:
        running = asyncio.create_task(ask(session, server, "a"))
        await until(server, running=1)
        await replay(session, server, recorded("sleep_level1")["request"])
        _, aborted = await running
        later = asyncio.create_task(ask(session, server, "a"))
        await until(server, waiting=1)
        health = await replay(session, server, recorded("health")["request"])
        await replay(session, server, recorded("wake_up")["request"])
        status, answer = await later

    assert aborted["choices"][0]["finish_reason"] == "abort"
    assert (health[0], status, answer["choices"][0]["finish_reason"]) == (200, 200, "stop")


async def test_gone_client_frees_its_place(session: aiohttp.ClientSession) -> None:
    async with recording_server(decode=SLOW, max_num_seqs=1) as server:
        first = asyncio.create_task(ask(session, server, "a"))
        await until(server, running=1)
        second = asyncio.create_task(ask(session, server, "b"))
        await until(server, waiting=1)

        first.cancel()
        status, _ = await second
        counted = server.stats()

    assert status == 200
    assert (counted["statuses"], counted["replies"]) == ({"499": 1, "200": 1}, 1)
