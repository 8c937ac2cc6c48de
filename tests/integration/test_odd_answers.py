"""Answers that are well-formed and wrong: another model's, ones that ended badly, numbers that nobody can use."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from orchestrator.app.looking import status
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.cli.tables import status as print_status
from orchestrator.domain import Usage
from orchestrator.errors import Guard, SetupError, TransientError
from orchestrator.ports import Message, Reply, Request, Sampling
from tests.faults.sins import PATH, TURNS, suffer
from tests.integration.places import run_here, workplace
from tests.servers.hostile import HostileServer, says
from tests.servers.ollama_replies import default_reply
from tests.servers.sins import MODEL

HUGE = 10**400
Remote: TypeAlias = OllamaEndpoint | OpenAIEndpoint
Connecting: TypeAlias = Callable[[str], Remote]


def ollama_at(url: str) -> OllamaEndpoint:
    return OllamaEndpoint(name="desk", wire=Wire(url), keep_alive="30m")


def vllm_at(url: str) -> OpenAIEndpoint:
    return OpenAIEndpoint(name="desk", wire=Wire(f"{url}/v1"))


both = pytest.mark.parametrize("connect", [ollama_at, vllm_at], ids=["ollama", "vllm"])


def a_reply(**more: Any) -> dict[str, Any]:
    """A reply that either interface takes."""
    message = {"content": "{}"}
    return {"message": message, "done": True, "choices": [{"message": message, "finish_reason": "stop"}], **more}


async def said(connect: Connecting, body: Any, wanted: str = "tiny") -> Reply:
    sampling = Sampling(temperature=0.0, seed=1, context=2048, reply_limit=100, timeout_s=5)
    schema = {"type": "object", "properties": {"analysis": {"type": "string"}}, "required": ["analysis"]}
    messages = (Message(role="user", content="Ten years."),)
    async with HostileServer(says(body)) as server:
        endpoint = connect(server.url)
        try:
            return await endpoint.speak(Request(model=wanted, messages=messages, schema=schema, sampling=sampling))
        finally:
            await endpoint.close()


@both
@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("m1", "m1"),
        ("m1", "m1:latest"),
        ("m1:latest", "m1"),
        ("m1:7b", "m1:7b"),
        ("m1", "/models/m1.gguf"),
        ("m1", "C:\\models\\m1.gguf"),
        ("m1.gguf", "/models/m1.gguf"),
        ("m1", "org/m1"),
        ("org/m1", "/hub/org/m1"),
        ("m1", ""),
        ("m1", None),
        ("m1", 7),
    ],
)
async def test_reply_under_the_models_name_is_taken(connect: Connecting, wanted: str, told: Any) -> None:
    assert (await said(connect, a_reply(model=told), wanted)).text == "{}"


@both
@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("m1", "m1.5-tiny:0.1b"),
        ("m1.5-tiny:0.1b", "m1"),
        ("m1", "m1:0.1b"),
        ("m1:7b", "m1"),
        ("m1:7b", "m1:latest"),
        ("m1", "m"),
        ("m1", "org/not-m1"),
        ("m1", "m1/other"),
        ("m1", "/models/m1-q4.gguf"),
        ("org/m1", "other/m1"),
        ("org/m1", "m1"),
    ],
)
async def test_reply_of_another_model_is_refused(connect: Connecting, wanted: str, told: str) -> None:
    with pytest.raises(SetupError) as refused:
        await said(connect, a_reply(model=told), wanted)

    assert f"was asked for {wanted!r} and answered with {told!r}" in str(refused.value)


async def test_other_model_is_refused_in_pieces() -> None:
    chunk = {"model": "other", "choices": [{"delta": {"content": "{}"}, "finish_reason": "stop"}]}

    with pytest.raises(SetupError, match="answered with 'other'"):
        await said(vllm_at, f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("reason", ["error", "abort", "", 7, False])
async def test_reply_that_ended_otherwise_is_incomplete(reason: Any) -> None:
    with pytest.raises(TransientError, match="done_reason is") as refused:
        await said(ollama_at, a_reply(done_reason=reason))

    assert (refused.value.guard, refused.value.reply) == (Guard.COMPLETENESS, "{}")


@pytest.mark.parametrize("end", [{}, {"done_reason": "stop"}, {"done_reason": None}])
async def test_reply_that_ended_by_itself_is_complete(end: dict[str, Any]) -> None:
    assert (await said(ollama_at, a_reply(**end))).text == "{}"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -5, pytest.param(HUGE, id="huge"), True, "9"])
async def test_numbers_that_nobody_can_use_are_left_out(odd: Any) -> None:
    names = ("prompt_eval_count", "eval_count", "load_duration", "prompt_eval_duration", "eval_duration")
    usage = {"prompt_tokens": odd, "completion_tokens": odd, "prompt_tokens_details": {"cached_tokens": odd}}
    body = a_reply(**dict.fromkeys(names, odd), usage=usage, timings={"prompt_ms": odd, "predicted_ms": odd})

    for connect in (ollama_at, vllm_at):
        assert (await said(connect, body)).usage == Usage()


@pytest.mark.parametrize(
    "odd", [pytest.param(HUGE, id="huge"), pytest.param(-HUGE, id="-huge"), True, math.nan, math.inf, "9"]
)
async def test_size_that_nobody_can_use_is_left_out(odd: Any) -> None:
    body = {"models": [{"name": "m1:latest", "digest": "d", "size": odd}]}

    async with HostileServer(says(body)) as server:
        endpoint = ollama_at(server.url)
        files = await endpoint.files()
        await endpoint.close()

    assert {name: (file.digest, file.gib) for name, file in files.items()} == {
        "m1": ("d", None),
        "m1:latest": ("d", None),
    }


@pytest.mark.parametrize("odd", ["NaN", "+Inf", "-3", "1e300"])
async def test_metrics_that_nobody_can_use_tell_nothing(odd: str) -> None:
    page = f"vllm:num_requests_running 1\nvllm:num_requests_waiting {odd}\n"

    async with HostileServer(says(page)) as server:
        endpoint = vllm_at(server.url)
        told = await endpoint.pressure()
        await endpoint.close()

    assert told is None


@pytest.mark.parametrize("backend", PATH)
async def test_odd_numbers_reach_no_table(backend: str, tmp_path: Path) -> None:
    outcome = await suffer("numbers that nobody can use", backend, tmp_path)

    assert outcome.verdict
    assert dict(outcome.end.tally.reloads) == {}
    with closing(sqlite3.connect(tmp_path / "orchestrate.db")) as database:
        kept = database.execute("SELECT task_id, reply_tokens FROM turns WHERE prompt_tokens IS NULL").fetchall()
    assert [tokens for _, tokens in kept] == [None] * TURNS
    assert len({task for task, _ in kept}) == 1


async def test_endless_load_leaves_status_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        if request.path != "/api/chat":
            return await says({"models": [{"name": MODEL}]})(request)
        body = await request.json()
        text = default_reply(body) if body["messages"] else ""
        reply = {"message": {"content": text}, "done": True, "done_reason": "stop" if text else "load"}
        return web.json_response({**reply, "model": MODEL, "load_duration": math.inf})

    async with HostileServer(answers) as server:
        cast = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
        place = workplace(tmp_path, cast, f'[endpoints.desk]\nbackend = "ollama"\nurl = "{server.url}"\n', records=2)
        end = await run_here(place)
    print_status(status(place), json=True)

    assert end.tally.done == 2
    assert "Infinity" not in capsys.readouterr().out
