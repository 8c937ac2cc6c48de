"""Whatever a server does, a call ends in time with a whole reply or a typed error; and every option is sent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from pydantic import SecretStr

from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.wire import LONGEST_BODY, Wire
from orchestrator.errors import (
    CapacityError,
    DeterministicError,
    EndpointError,
    Guard,
    OverflowingError,
    RefusalError,
    SetupError,
    TransientError,
)
from orchestrator.ports import Message, Request, Sampling
from tests.servers import hostile
from tests.servers.hostile import Flood, HostileServer, Sin, says

Remote: TypeAlias = OllamaEndpoint | OpenAIEndpoint
Connecting: TypeAlias = Callable[[str], Remote]

KEY = "sk-very-secret-0123456789"
SAMPLING = Sampling(temperature=0.0, seed=1, context=2048, reply_limit=100, timeout_s=5)
REQUEST = Request(
    model="tiny",
    messages=(Message(role="system", content="You judge."), Message(role="user", content="Ten years.")),
    schema={"type": "object", "properties": {"analysis": {"type": "string"}}, "required": ["analysis"]},
    sampling=SAMPLING,
)
OTHER_SCHEMA = {"type": "object", "properties": {"evidence": {"type": "string"}}, "required": ["evidence"]}


def ollama_at(url: str, key: str = KEY, keep_alive: str = "30m") -> OllamaEndpoint:
    return OllamaEndpoint(name="desk", wire=Wire(url, api_key=SecretStr(key)), keep_alive=keep_alive)


def vllm_at(url: str, key: str = KEY) -> OpenAIEndpoint:
    return OpenAIEndpoint(name="desk", wire=Wire(f"{url}/v1", api_key=SecretStr(key)))


def ollama_reply(text: str = "{}", **more: Any) -> dict[str, Any]:
    counts = {"prompt_eval_count": 3, "eval_count": 2}
    return {"message": {"content": text}, "done": True, "done_reason": "stop", **counts, **more}


def vllm_reply(text: str = "{}", reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text, **more}, "finish_reason": reason}], "usage": None}


both = pytest.mark.parametrize("connect", [ollama_at, vllm_at], ids=["ollama", "vllm"])


async def speak(endpoint: Remote, request: Request = REQUEST) -> str:
    """One call, after which the connections are given back."""
    try:
        return (await endpoint.speak(request)).text
    finally:
        await endpoint.close()


async def error_from(connect: Connecting, sin: Sin, timeout_s: float = 5) -> EndpointError:
    """The error that one call of a server with this sin ends in."""
    async with HostileServer(sin) as server:
        with pytest.raises(EndpointError) as caught:
            await speak(connect(server.url), replace(REQUEST, sampling=replace(SAMPLING, timeout_s=timeout_s)))
    return caught.value


async def sent(endpoint: Callable[[str], Remote], request: Request, reply: Mapping[str, Any]) -> hostile.Seen:
    """One call as it arrived at the server."""
    async with HostileServer(says(reply)) as server:
        await speak(endpoint(server.url), request)
    return server.seen[0]


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every value in a JSON body by its path, lists and schemas whole."""
    if not isinstance(value, dict) or path in ("format", "response_format.json_schema.schema"):
        return {path: value}
    return {k: v for name, inner in value.items() for k, v in leaves(inner, f"{path}.{name}".lstrip(".")).items()}


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org", "2001:db8::1"])
def test_tests_reach_no_other_machine(host: str) -> None:
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.create_connection((host, 80), timeout=0.1)
    with socket.socket() as direct, pytest.raises(RuntimeError, match="loopback only"):
        direct.connect((host, 80))


@both
async def test_refused_connection_means_server_down(connect: Connecting) -> None:
    with hostile.nobody_listens() as url, pytest.raises(TransientError, match="does not answer") as caught:
        await speak(connect(url))

    assert caught.value.down


@both
async def test_unanswered_connection_means_server_down(connect: Connecting) -> None:
    quick = replace(REQUEST, sampling=replace(SAMPLING, timeout_s=0.2))

    with hostile.nobody_accepts() as url, pytest.raises(TransientError) as caught:
        await speak(connect(url), quick)

    assert caught.value.down


@both
@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (400, "json: cannot unmarshal", DeterministicError),
        (400, "This model's maximum context length is 2048 tokens", OverflowingError),
        (401, "Unauthorized", SetupError),
        (403, "Forbidden", SetupError),
        (404, "model 'tiny' not found", SetupError),
        (405, "405 method not allowed", SetupError),
        (408, "Request Timeout", TransientError),
        (429, "Too Many Requests", CapacityError),
        (500, "unexpected EOF", TransientError),
        (500, 'option "seed" must be of type integer', DeterministicError),
        (500, "CUDA error: out of memory", CapacityError),
        (502, "Bad Gateway", TransientError),
        (503, "server busy, please try again", CapacityError),
    ],
)
async def test_status_becomes_its_typed_error(
    connect: Connecting, status: int, text: str, expected: type[EndpointError]
) -> None:
    error = await error_from(connect, says({"error": text}, status))

    assert type(error) is expected
    assert text in str(error)
    assert str(status) in str(error)


@both
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *[("7", 7.0), ("9" * 400, 3600.0), ("²", None), ("-1", None), ("", None), ("tomorrow", None)],
        *[("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 21 Oct 2099 07:28:00 GMT", 3600.0)],
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999", None),
    ],
)
async def test_retry_after_is_read_in_seconds(connect: Connecting, header: str, seconds: float | None) -> None:
    error = await error_from(connect, says({"error": "busy"}, 429, Retry_After=header))

    assert isinstance(error, CapacityError)
    assert error.retry_after_s == seconds


@both
@pytest.mark.parametrize("sin", [hostile.hangs, hostile.drips])
async def test_slow_server_ends_at_time_out(connect: Connecting, sin: Sin) -> None:
    began = time.monotonic()

    error = await error_from(connect, sin, timeout_s=0.2)

    assert isinstance(error, TransientError)
    assert not error.down
    assert "0.2 s" in str(error)
    assert time.monotonic() - began < 2


@both
@pytest.mark.parametrize(
    ("sin", "guard"),
    [(hostile.breaks_off, Guard.COMPLETENESS), (hostile.refuses_by_half, None), (hostile.closes_at_once, None)],
)
async def test_broken_connection_is_transient(connect: Connecting, sin: Sin, guard: Guard | None) -> None:
    error = await error_from(connect, sin)

    assert isinstance(error, TransientError)
    assert (error.down, error.guard) == (False, guard)
    assert "the connection broke" in str(error)


@both
@pytest.mark.parametrize(
    "body",
    [
        "<html><body>It works!</body></html>",
        "",
        '{"message": {"content": "half of',
        "[" * 100_000,
        {"error": "the runner died"},
        {},
        [],
        {"message": None, "choices": None, "done": True},
        {"message": "text", "choices": [{"message": "text", "finish_reason": "stop"}], "done": True},
        {"choices": []},
    ],
    ids=["html", "nothing", "half", "deep", "error", "object", "list", "null", "text", "empty"],
)
async def test_200_without_a_reply_is_transient(connect: Connecting, body: Any) -> None:
    error = await error_from(connect, says(body))

    assert type(error) is TransientError
    assert error.guard is Guard.COMPLETENESS
    assert "without a reply" in str(error)


@both
async def test_half_a_surrogate_is_no_reply(connect: Connecting) -> None:
    error = await error_from(connect, says(ollama_reply("\ud800") | vllm_reply("\ud800")))

    assert type(error) is TransientError


@both
async def test_whole_surrogate_pairs_are_text(connect: Connecting) -> None:
    async with HostileServer(says(ollama_reply("⚖😀") | vllm_reply("⚖😀"))) as server:
        text = await speak(connect(server.url))

    assert text == "⚖😀"


@pytest.mark.parametrize(
    ("connect", "body"),
    [
        (ollama_at, ollama_reply("half of", done=False)),
        (ollama_at, ollama_reply("half of", done=None)),
        (ollama_at, {"message": {"content": "half of"}}),
        (vllm_at, vllm_reply("half of", None)),
        (vllm_at, vllm_reply("half of", "abort")),
        (vllm_at, {"choices": [{"message": {"content": "half of"}}]}),
    ],
)
async def test_unfinished_reply_is_transient_and_kept(connect: Connecting, body: dict[str, Any]) -> None:
    error = await error_from(connect, says(body))

    assert type(error) is TransientError
    assert error.guard is Guard.COMPLETENESS
    assert "not complete" in str(error)
    assert error.reply == "half of"


@pytest.mark.parametrize(
    ("connect", "body"),
    [(ollama_at, ollama_reply("half of", done_reason="length")), (vllm_at, vllm_reply("half of", "length"))],
    ids=["ollama", "vllm"],
)
async def test_cut_reply_overflows_and_is_kept(connect: Connecting, body: dict[str, Any]) -> None:
    error = await error_from(connect, says(body))

    assert isinstance(error, OverflowingError)
    assert (error.guard, error.reply) == (Guard.COMPLETENESS, "half of")


@pytest.mark.parametrize("body", [vllm_reply("I", "content_filter"), vllm_reply("I", refusal="I must not")])
async def test_declined_reply_is_a_refusal(body: dict[str, Any]) -> None:
    error = await error_from(vllm_at, says(body))

    assert isinstance(error, RefusalError)
    assert error.reply == "I"


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_named_and_not_followed(connect: Connecting, status: int) -> None:
    async with HostileServer(says(ollama_reply() | vllm_reply())) as target:
        error = await error_from(connect, says("", status, Location=f"{target.url}/api/chat"))

    assert isinstance(error, SetupError)
    assert "redirects" in str(error)
    assert target.seen == []


@both
async def test_endless_body_is_bounded(connect: Connecting) -> None:
    flood = Flood(mebibytes=100)

    error = await error_from(connect, flood)

    assert type(error) is TransientError
    assert "larger than 16 MiB" in str(error)
    assert LONGEST_BODY < flood.sent < 3 * LONGEST_BODY


@both
async def test_error_text_is_bounded(connect: Connecting) -> None:
    error = await error_from(connect, says({"error": "word " * 100_000}, 500))

    assert len(str(error)) < 2000


@both
async def test_refused_key_is_never_repeated(connect: Connecting) -> None:
    error = await error_from(connect, hostile.repeats_the_key)

    assert isinstance(error, SetupError)
    assert KEY not in str(error)
    assert "api_key_env" in str(error)
    assert KEY not in repr(error) + repr(error.args) + error.reply


@both
async def test_error_names_the_address(connect: Connecting) -> None:
    async with HostileServer(says({"error": "no"}, 500)) as server:
        with pytest.raises(TransientError, match=server.url):
            await speak(connect(server.url))


@both
@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:1", "http://"])
async def test_address_of_no_server_is_setup(connect: Connecting, url: str) -> None:
    with pytest.raises(SetupError, match="address"):
        await speak(connect(url))


@both
@pytest.mark.parametrize("body", ["<html></html>", {}, [], {"models": [{}], "data": [{}]}, {"models": 1, "data": 1}])
async def test_listing_by_another_server_is_setup(connect: Connecting, body: Any) -> None:
    async with HostileServer(says(body)) as server:
        endpoint = connect(server.url)
        with pytest.raises(SetupError, match="is this an"):
            await endpoint.loaded()
        await endpoint.close()


@both
async def test_listing_by_busy_server_is_retryable(connect: Connecting) -> None:
    async with HostileServer(says({"error": "busy"}, 503), says({"error": "EOF"}, 500)) as server:
        endpoint = connect(server.url)
        with pytest.raises(CapacityError):
            await endpoint.loaded()
        with pytest.raises(TransientError):
            await endpoint.available()
        await endpoint.close()


@both
async def test_call_after_an_error_answers(connect: Connecting) -> None:
    async with HostileServer(hostile.closes_at_once, says(ollama_reply() | vllm_reply())) as server:
        endpoint = connect(server.url)
        with pytest.raises(TransientError):
            await endpoint.speak(REQUEST)

        assert await speak(endpoint) == "{}"


@both
async def test_call_after_closing_connects_again(connect: Connecting) -> None:
    async with HostileServer(says(ollama_reply() | vllm_reply())) as server:
        endpoint = connect(server.url)

        assert [await speak(endpoint) for _ in range(2)] == ["{}", "{}"]


@both
async def test_cancelled_call_leaves_the_rest_alone(connect: Connecting) -> None:
    async with HostileServer(hostile.hangs, says(ollama_reply() | vllm_reply())) as server:
        endpoint = connect(server.url)
        cancelled = asyncio.create_task(endpoint.speak(REQUEST))
        while not server.seen:
            await asyncio.sleep(0.001)
        cancelled.cancel()
        await asyncio.wait({cancelled})

        assert cancelled.cancelled()
        assert await speak(endpoint) == "{}"


@pytest.mark.parametrize(
    ("option", "value", "path"),
    [
        ("context", 4096, "options.num_ctx"),
        ("reply_limit", 55, "options.num_predict"),
        ("seed", 77, "options.seed"),
        ("temperature", 0.7, "options.temperature"),
    ],
)
async def test_ollama_is_sent_every_sampling_option(option: str, value: Any, path: str) -> None:
    other = replace(REQUEST, sampling=replace(SAMPLING, **{option: value}))

    before = leaves((await sent(ollama_at, REQUEST, ollama_reply())).body)
    after = leaves((await sent(ollama_at, other, ollama_reply())).body)

    assert before[path] == getattr(SAMPLING, option)
    assert after == {**before, path: value}


async def test_ollama_is_sent_the_keep_alive() -> None:
    before = leaves((await sent(ollama_at, REQUEST, ollama_reply())).body)
    after = leaves((await sent(lambda url: ollama_at(url, keep_alive="2h"), REQUEST, ollama_reply())).body)

    assert before["keep_alive"] == "30m"
    assert after == {**before, "keep_alive": "2h"}


async def test_ollama_is_sent_the_schema_as_format() -> None:
    before = leaves((await sent(ollama_at, REQUEST, ollama_reply())).body)
    after = leaves((await sent(ollama_at, replace(REQUEST, schema=OTHER_SCHEMA), ollama_reply())).body)

    assert before["format"] == REQUEST.schema
    assert after == {**before, "format": OTHER_SCHEMA}


async def test_ollama_is_told_not_to_truncate() -> None:
    seen = await sent(ollama_at, REQUEST, ollama_reply())

    assert seen.path == "/api/chat"
    assert seen.body["truncate"] is False
    assert seen.body["stream"] is False


async def test_ollama_loads_with_context_and_keep_alive() -> None:
    async with HostileServer(says({"done": True, "done_reason": "load"})) as server:
        endpoint = ollama_at(server.url)
        await endpoint.load("tiny", replace(SAMPLING, context=4096))
        await endpoint.close()

    assert server.seen[0].body == {
        "model": "tiny",
        "messages": [],
        "stream": False,
        "keep_alive": "30m",
        "options": {"num_ctx": 4096},
    }


@pytest.mark.parametrize(
    ("option", "value", "path"),
    [("reply_limit", 55, "max_tokens"), ("seed", 77, "seed"), ("temperature", 0.7, "temperature")],
)
async def test_vllm_is_sent_every_sampling_option(option: str, value: Any, path: str) -> None:
    other = replace(REQUEST, sampling=replace(SAMPLING, **{option: value}))

    before = leaves((await sent(vllm_at, REQUEST, vllm_reply())).body)
    after = leaves((await sent(vllm_at, other, vllm_reply())).body)

    assert before[path] == getattr(SAMPLING, option)
    assert after == {**before, path: value}


async def test_vllm_is_sent_the_response_format() -> None:
    before = leaves((await sent(vllm_at, REQUEST, vllm_reply())).body)
    after = leaves((await sent(vllm_at, replace(REQUEST, schema=OTHER_SCHEMA), vllm_reply())).body)

    assert before["response_format.type"] == "json_schema"
    assert before["response_format.json_schema.strict"] is True
    assert before["response_format.json_schema.schema"] == REQUEST.schema
    assert after == {**before, "response_format.json_schema.schema": OTHER_SCHEMA}


@pytest.mark.parametrize(("connect", "reply"), [(ollama_at, ollama_reply()), (vllm_at, vllm_reply())])
async def test_key_is_sent_as_authorization(connect: Callable[..., Remote], reply: dict[str, Any]) -> None:
    with_key = await sent(connect, REQUEST, reply)
    with_other = await sent(lambda url: connect(url, key="other"), REQUEST, reply)
    without = await sent(lambda url: connect(url, key=""), REQUEST, reply)

    assert with_key.headers["Authorization"] == f"Bearer {KEY}"
    assert with_other.headers["Authorization"] == "Bearer other"
    assert "Authorization" not in without.headers


@pytest.mark.parametrize(("connect", "reply"), [(ollama_at, ollama_reply()), (vllm_at, vllm_reply())])
async def test_model_and_messages_are_sent_unchanged(connect: Connecting, reply: dict[str, Any]) -> None:
    said = ("system", "Regeln: ä, ⚖, 😀"), ("user", '{"x": "\\n"}\n'), ("assistant", "{}"), ("user", "")
    messages = tuple(Message(role=role, content=content) for role, content in said)

    seen = await sent(connect, replace(REQUEST, model="org/tiny:1b", messages=messages), reply)

    assert seen.body["model"] == "org/tiny:1b"
    assert seen.body["messages"] == [{"role": role, "content": content} for role, content in said]
