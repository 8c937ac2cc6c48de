"""What endpoints tell of their load and of their models' files, and that a server which tells nothing ends nothing."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from benchmarks.model_server import ModelServer
from orchestrator.backends.llamacpp import LlamaCppEndpoint
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.rehearsal import RehearsalEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.errors import SetupError
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Endpoint, Message, Request, Sampling
from tests.servers import hostile
from tests.servers.hostile import Flood, HostileServer, Sin, says
from tests.servers.ollama import OllamaStandIn

RECORDINGS = Path(__file__).parents[1] / "recordings"
SAMPLING = Sampling(temperature=0.0, seed=1, context=2048, reply_limit=200, timeout_s=20)
SCHEMA = {"type": "object", "properties": {"analysis": {"type": "string"}}, "required": ["analysis"]}
TWO_ENGINES = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny {llama}"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny {llama}"} 4.0 1395066363000
vllm:num_requests_waiting{engine="0",model_name="tiny {llama}"} 1.0
vllm:num_requests_waiting{engine="1",model_name="tiny {llama}"} 1e+1
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny {llama}",reason="capacity"} 500.0
"""


def recorded(name: str) -> Any:
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"]
    return response.get("json") or response["text"]


def vllm_at(url: str) -> OpenAIEndpoint:
    return OpenAIEndpoint(name="desk", wire=Wire(f"{url}/v1", api_key=SecretStr("sk-very-secret")))


def ollama_at(url: str) -> OllamaEndpoint:
    return OllamaEndpoint(name="desk", wire=Wire(url), keep_alive="30m")


def request(text: str) -> Request:
    messages = (Message(role="system", content="You judge."), Message(role="user", content=text))
    return Request(model="llama3.1:8b", messages=messages, schema=SCHEMA, sampling=SAMPLING)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (recorded("vllm/metrics_prefix_3"), Pressure(running=0, waiting=0)),
        (TWO_ENGINES, Pressure(running=7, waiting=11)),
        ("llamacpp:requests_processing 2\nllamacpp:requests_deferred 5\n", Pressure(running=2, waiting=5)),
    ],
    ids=["recorded", "two engines", "llama.cpp"],
)
async def test_pressure_is_read_from_metrics(metrics: str, expected: Pressure) -> None:
    async with HostileServer(says(metrics)) as server:
        assert await vllm_at(server.url).pressure() == expected

    assert [seen.path for seen in server.seen] == ["/metrics"]
    assert "Authorization" not in server.seen[0].headers


async def test_pressure_counts_what_runs_and_waits() -> None:
    # A second of the server's lasts a minute: nothing ends while it is asked.
    async with ModelServer("h100", changes=["max_num_seqs=2"], scale=60) as server:
        endpoint = vllm_at(server.url)
        calls = [asyncio.create_task(endpoint.speak(request(f"record {number}"))) for number in range(5)]
        seen = [await endpoint.pressure() for _ in range(300)]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await endpoint.close()

    assert Pressure(running=2, waiting=3) in seen


@pytest.mark.parametrize(
    "sin",
    [
        says({"detail": "Not Found"}, 404),
        says("Unauthorized", 401),
        says("", 302, Location="/login"),
        says("<html>It works!</html>"),
        says("vllm:num_requests_running 1\n"),
    ],
    ids=["404", "401", "302", "html", "half"],
)
async def test_server_without_metrics_is_asked_once(sin: Sin) -> None:
    async with HostileServer(sin) as server:
        endpoint = vllm_at(server.url)

        assert [await endpoint.pressure() for _ in range(3)] == [None] * 3

    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "sin",
    [
        hostile.breaks_off,
        says("busy", 503),
        says(TWO_ENGINES.replace("3.0", "NaN")),
        says(TWO_ENGINES.replace("3.0", "three")),
        says(TWO_ENGINES.replace("3.0", "")),
    ],
    ids=["broken", "503", "nan", "word", "nothing"],
)
async def test_metrics_that_fail_once_are_asked_again(sin: Sin) -> None:
    async with HostileServer(sin, says(TWO_ENGINES)) as server:
        endpoint = vllm_at(server.url)

        assert await endpoint.pressure() is None
        assert await endpoint.pressure() == Pressure(running=7, waiting=11)


async def test_server_that_is_down_tells_nothing() -> None:
    with hostile.nobody_listens() as url:
        assert await vllm_at(url).pressure() is None


async def test_endless_metrics_are_bounded() -> None:
    flood = Flood(mebibytes=100)
    async with HostileServer(flood) as server:
        assert await vllm_at(server.url).pressure() is None

    assert flood.sent < 16 * 2**20


@pytest.mark.parametrize(
    "endpoint",
    [
        RehearsalEndpoint(name="desk"),
        LlamaCppEndpoint(name="desk", files={}, slots=1, threads=1),
        ollama_at("http://127.0.0.1:1"),
    ],
    ids=lambda endpoint: endpoint.backend.value,
)
async def test_others_cannot_tell_their_pressure(endpoint: Endpoint) -> None:
    assert await endpoint.pressure() is None


async def test_ollama_tells_digest_and_size() -> None:
    async with HostileServer(says(recorded("ollama/tags")), says(recorded("ollama/ps_two_models"))) as server:
        endpoint = ollama_at(server.url)
        files = await endpoint.files()
        await endpoint.close()

    assert files["tiny-llama"].digest.startswith("c6269ffab06cad15")
    assert files["tiny-llama"] == files["tiny-llama:latest"]
    assert (files["tiny-llama"].gib or 0) * 2**30 == pytest.approx(24_305_990)
    assert (files["mid-llama"].gib or 0) * 2**30 == pytest.approx(377_621_275)


async def test_ollama_stand_in_tells_its_files() -> None:
    async with OllamaStandIn(models=["tiny-llama", "org/tiny:1b"]) as server:
        endpoint = ollama_at(server.url)
        await endpoint.load("org/tiny:1b", SAMPLING)
        files = await endpoint.files()
        await endpoint.close()

    assert set(files) == {"tiny-llama", "tiny-llama:latest", "org/tiny:1b"}
    assert all(file.digest and file.gib for file in files.values())


async def test_files_of_another_server_are_setup() -> None:
    async with HostileServer(says({"models": ["tiny"]})) as server:
        endpoint = ollama_at(server.url)
        with pytest.raises(SetupError, match="is this an Ollama server"):
            await endpoint.files()
        await endpoint.close()


async def test_gguf_is_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF" * 2**18)
    gone = tmp_path / "gone.gguf"
    endpoint = LlamaCppEndpoint(name="desk", files={"tiny": path, "gone": gone}, slots=1, threads=1)

    before, same = await endpoint.files(), await endpoint.files()
    os.utime(path, (1, 1))
    after = await endpoint.files()

    assert before == same
    assert before["tiny"].gib == 2**-10
    assert before["tiny"].digest != after["tiny"].digest
    assert "gone" not in before


async def test_others_tell_nothing_of_files() -> None:
    files: list[Any] = [await RehearsalEndpoint(name="desk").files(), await vllm_at("http://127.0.0.1:1").files()]

    assert files == [{}, {}]
    assert ModelFile() == ModelFile(digest="", gib=None)
