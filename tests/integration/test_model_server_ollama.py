"""The model server answers as the recorded Ollama did, and loads, evicts and hangs as it did."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.model_server import ModelServer, Profile
from tests.integration.test_ollama_stand_in import MODELS_IN_ORDER, ONE_BY_ONE, OPTIONS_IN_ORDER
from tests.servers.comparing import facts, read, shape

RECORDINGS = Path(__file__).parents[1] / "recordings" / "ollama"
TINY = ("tiny-llama", "tiny-qwen2", "tiny-ctx1k", "mid-llama")
A, B, C = "qwen2.5:7b", "gemma2:9b", "llama3.1:8b"
# A recorded call that had to load waited 250 ms and more, one that did not 6 ms at most.
RECORDED_LOAD_NS = 100_000_000
# One simulated second takes half a millisecond.
SCALE = 0.0005
# Replies of a minute and more, so that others can come meanwhile.
LONG = ("replies.tokens=6000",)


class Client:
    """Speaks to one server over one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def chat(self, server: ModelServer, model: str, text: str = "x", **more: Any) -> tuple[int, Any]:
        messages = [{"role": "user", "content": text}] if text else []
        body = {"model": model, "messages": messages, "stream": False} | more
        async with self.session.post(f"{server.url}/api/chat", json=body) as response:
            return response.status, await response.json()

    def start(self, server: ModelServer, model: str, text: str = "x", **more: Any) -> asyncio.Task[tuple[int, Any]]:
        return asyncio.create_task(self.chat(server, model, text, **more))

    async def replay(self, server: ModelServer, request: dict[str, Any]) -> tuple[int, str, str]:
        body = request["body"]
        raw = body if isinstance(body, str | None) else json.dumps(body)
        asked = (request["method"], server.url + request["path"])
        async with self.session.request(*asked, data=raw, headers=request["headers"]) as response:
            return response.status, response.headers.get("Content-Type", ""), await response.text()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Client(session)


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def recording_server(**ollama: Any) -> ModelServer:
    """The recorded server: room for one tiny model, 5 tokens for every two words `word word `."""
    speed = {"kv_bytes_per_token": 64, "prefill": 1e5, "decode": 1e3}
    profile = {
        "kind": "ollama",
        "gpu": {"vram_gib": 1.0},
        "ollama": {"max_loaded": 1, "swap_s": 0.5, "unload_s": 0.1, **ollama},
        "replies": {"tokens": 24, "chars_per_token": 2.5},
        "models": [{"name": name, "size_gib": 0.1, **speed} for name in TINY],
    }
    return ModelServer(Profile.model_validate(profile), scale=SCALE)


def laptop(*changes: str) -> ModelServer:
    return ModelServer("laptop", changes=changes, scale=SCALE)


async def until(server: ModelServer, **wanted: int) -> None:
    """Wait until levels have these values."""
    async with asyncio.timeout(10):
        while any(server.stats()["levels"].get(name, {}).get("now") != value for name, value in wanted.items()):
            await asyncio.sleep(0.001)


def moves(server: ModelServer) -> list[tuple[str, str]]:
    kinds = ("load", "reload", "evict", "unload", "abort")
    return [(event["event"], event["model"]) for event in server.timeline if event["event"] in kinds]


@pytest.mark.parametrize("name", ONE_BY_ONE.split())
async def test_replay_gives_the_recorded_answer(client: Client, name: str) -> None:
    recording = recorded(name)
    expected = recording["response"]
    expected_type = expected["headers"].get("Content-Type")

    async with recording_server() as server:
        status, content_type, text = await client.replay(server, recording["request"])

    body = read(content_type, text)
    lines = "\n".join(line for _, line in expected.get("lines", []))
    expected_body = expected.get("json", read("event", lines) if lines else expected.get("text"))
    assert status == expected["status"]
    assert content_type == expected_type or expected_type is None
    assert shape(body) == shape(expected_body)
    assert facts(body) == facts(expected_body)
    assert body == expected_body or not isinstance(body, str)


@pytest.mark.parametrize("names", [OPTIONS_IN_ORDER, MODELS_IN_ORDER], ids=["options", "models"])
async def test_same_calls_load_as_recorded(client: Client, names: str) -> None:
    recordings = [recorded(name) for name in names.split()]
    expected = [recording["response"]["json"]["load_duration"] > RECORDED_LOAD_NS for recording in recordings]

    async with recording_server() as server:
        await client.chat(server, "tiny-llama", "")
        loads = [server.stats()["loads"]]
        said = []
        for recording in recordings:
            said.append(json.loads((await client.replay(server, recording["request"]))[2]))
            loads.append(server.stats()["loads"])

    assert [after > before for before, after in pairwise(loads)] == expected
    assert [answer["load_duration"] > RECORDED_LOAD_NS for answer in said] == expected


async def test_prompt_is_cut_as_recorded(client: Client) -> None:
    last, history = recorded("ctx_overflow_last_message"), recorded("ctx_overflow_history_dropped")

    async with recording_server() as server:
        cut = json.loads((await client.replay(server, last["request"]))[2])
        dropped = json.loads((await client.replay(server, history["request"]))[2])

    assert cut["prompt_eval_count"] == last["response"]["json"]["prompt_eval_count"]
    assert dropped["prompt_eval_count"] == pytest.approx(history["response"]["json"]["prompt_eval_count"], rel=0.02)


@pytest.mark.parametrize(
    ("name", "keep_alive", "models"),
    [("ps_loaded", "5m", 1), ("ps_two_models", "5m", 2), ("ps_keep_alive_forever", -1, 1)],
)
async def test_loaded_models_look_as_recorded(client: Client, name: str, keep_alive: Any, models: int) -> None:
    expected = recorded(name)["response"]["json"]

    async with recording_server(max_loaded=2) as server:
        for model in TINY[:models]:
            await client.chat(server, model, keep_alive=keep_alive)
        async with client.session.get(f"{server.url}/api/ps") as response:
            running = await response.json()

    assert shape(running) == shape(expected)
    assert [model["name"] for model in running["models"]] == [model["name"] for model in expected["models"]]
    assert [model["expires_at"] > "23" for model in running["models"]] == [keep_alive == -1] * models


async def test_full_queue_refuses_as_recorded(client: Client) -> None:
    async with laptop("max_queue=2", "swap_s=200") as server:
        busy = client.start(server, A)
        await until(server, waiting_for_load=1)
        asked = [client.start(server, B) for _ in range(6)]
        answers = await asyncio.gather(busy, *asked)

    expected = recorded("queue_full_2")["response"]["json"]
    assert [answer for status, answer in answers if status == 503] == [expected] * 4
    assert [status for status, _ in answers].count(200) == 3


async def test_full_queue_refuses_openai_calls(client: Client) -> None:
    body = {"model": C, "messages": [{"role": "user", "content": "x"}]}
    async with ModelServer("rtx4080", changes=["max_queue=0", "swap_s=200"], scale=SCALE) as server:
        loading = client.start(server, A)
        await until(server, waiting_for_load=1)
        async with client.session.post(f"{server.url}/v1/chat/completions", json=body) as response:
            answer = await response.json()
        await loading

    expected = recorded("v1_queue_full_3")["response"]
    assert (response.status, answer) == (expected["status"], expected["json"])


@pytest.mark.parametrize(("keep_alive", "hangs"), [(-1, True), (None, False)])
async def test_keep_alive_during_drain_locks_up(client: Client, keep_alive: Any, hangs: bool) -> None:
    async with laptop("slots=2", *LONG) as server:
        first = client.start(server, A, keep_alive=-1)
        await until(server, speaking=1)
        second = client.start(server, B)
        await until(server, waiting_for_load=1)

        await client.chat(server, A, "y", **({"keep_alive": keep_alive} if keep_alive else {}))
        await first
        done, _ = await asyncio.wait({second}, timeout=0.1)
        await client.chat(server, A, "", keep_alive=0)
        await second

    assert (not done) is hangs
    assert moves(server) == [("load", A), ("unload" if hangs else "evict", A), ("load", B)]


async def test_lock_up_outlives_its_client(client: Client) -> None:
    async with ModelServer("rtx4080", changes=["max_loaded=1", "slots=2", *LONG], scale=SCALE) as server:
        first = client.start(server, A, keep_alive=-1)
        await until(server, speaking=1)
        second = client.start(server, B)
        await until(server, waiting_for_load=1)
        await client.chat(server, A, "y", keep_alive=-1)
        await first

        second.cancel()
        await until(server, models_wanted=0)
        third = client.start(server, C)
        done, _ = await asyncio.wait({third}, timeout=0.05)
        await client.chat(server, A, "", keep_alive=0)
        await third

    assert not done
    assert moves(server) == [("load", A), ("unload", A), ("load", C)]


async def test_cancelled_load_leaves_nothing_loaded(client: Client) -> None:
    async with laptop("swap_s=1000") as server:
        task = client.start(server, A)
        await until(server, waiting_for_load=1)

        task.cancel()
        await until(server, waiting_for_load=0)
        async with client.session.get(f"{server.url}/api/ps") as response:
            running = await response.json()

    assert (running, moves(server), server.stats()["aborts"]) == ({"models": []}, [("abort", A)], 1)


async def test_failures_and_memory_answer_500(client: Client) -> None:
    async with laptop("fail_share=1") as dying, laptop("oom_streams=1", "slots=2") as small:
        died = await client.chat(dying, A)
        together = await asyncio.gather(client.chat(small, A, "x"), client.chat(small, A, "y"))

    killed = recorded("runner_killed_nonstream")["response"]
    assert died == (killed["status"], killed["json"])
    assert [status for status, _ in together] == [200, 500]
    assert "out of memory" in together[1][1]["error"]


async def start_program(*options: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "benchmarks.model_server", *options)
    return await asyncio.create_subprocess_exec(*command, cwd=RECORDINGS.parents[2], stdout=asyncio.subprocess.PIPE)


async def test_program_serves_until_it_is_stopped(client: Client, tmp_path: Path) -> None:
    book = tmp_path / "calls.jsonl"
    program = await start_program("--profile", "laptop", "--scale", "0.001", "--calls", str(book), "--set", "slots=4")
    assert program.stdout is not None
    server = laptop()
    server.url = (await program.stdout.readline()).decode().strip()

    status, said = await client.chat(server, A)
    async with client.session.get(f"{server.url}/_stats") as response:
        counted = await response.json()
    async with client.session.post(f"{server.url}/_stats/reset") as response:
        cleared = await response.json()
    program.terminate()

    assert (status, await program.wait()) == (200, 0)
    assert counted["span_s"] * 1e9 == pytest.approx(said["total_duration"])
    assert (counted["loads"], counted["replies"], cleared["loads"], cleared["replies"]) == (1, 1, 0, 0)
    assert [json.loads(line)["model"] for line in book.read_text().splitlines()] == [A]


async def test_program_starts_every_replica() -> None:
    program = await start_program("--profile", "four_gpus", "--lifetime", "0.01")

    async with asyncio.timeout(10):
        output, _ = await program.communicate()

    urls = output.decode().split()
    assert (len(set(urls)), program.returncode) == (4, 0)
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


async def test_timeline_tells_the_swaps(client: Client) -> None:
    async with laptop() as server:
        for model in (A, B):
            await client.chat(server, model)
        async with client.session.get(f"{server.url}/_timeline") as response:
            events = (await response.json())["events"]

    kinds = ["load_begins", "load", "begin", "end"]
    assert [event["event"] for event in events] == [*kinds, "evict", *kinds]
    evicted, loaded = events[4]["t"], events[6]["t"]
    assert loaded - evicted == pytest.approx(2.3)
