"""What every endpoint does, whatever runs its models: one suite, four backends, real servers where there are any."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest

from orchestrator.backends.llamacpp import LlamaCppEndpoint
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.rehearsal import RehearsalEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.domain import Backend
from orchestrator.errors import ErrorClass, OverflowingError, SetupError, TransientError
from orchestrator.ports import Endpoint, Message, Reply, Request, Sampling
from tests.servers.llamacpp import LlamaCppServer
from tests.servers.ollama import OllamaStandIn

CONTEXT = 1024
# Random models like white space and long strings: the schema bounds the one, the limit leaves room for the other.
SAMPLING = Sampling(temperature=0.0, seed=7, context=CONTEXT, reply_limit=600, timeout_s=20)
KEYS = ["analysis", "evidence", "verdict_score"]
SCHEMA = {
    "type": "object",
    "properties": {
        "analysis": {"type": "string", "minLength": 1, "maxLength": 40},
        "evidence": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 2},
        "verdict_score": {"type": "integer", "minimum": 0, "maximum": 10},
    },
    "required": KEYS,
    "additionalProperties": False,
}
RECORD = "<<<RECORD a1>>>\nTen years of experience. The certificate has expired.\n<<<END RECORD a1>>>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An endpoint under test, and two models it can serve, one of them if it has no more."""

    endpoint: Endpoint
    models: tuple[str, ...]
    lists: bool = True
    unloads: bool = True

    def request(self, text: str = RECORD, **sampling: Any) -> Request:
        """A request to the first model."""
        messages = (Message(role="system", content="You judge."), Message(role="user", content=text))
        return Request(model=self.models[0], messages=messages, schema=SCHEMA, sampling=replace(SAMPLING, **sampling))

    async def load(self) -> None:
        """Load the first model."""
        await self.endpoint.load(self.models[0], SAMPLING)

    async def speak(self, text: str = RECORD, **sampling: Any) -> Reply:
        """Call the first model."""
        return await self.endpoint.speak(self.request(text, **sampling))


Entering: TypeAlias = Callable[[pytest.FixtureRequest], AsyncIterator[Candidate]]


@pytest.fixture(scope="module")
def llama_url(tiny_models: dict[str, Path]) -> Iterator[str]:
    with LlamaCppServer(tiny_models["tiny-llama"], slots=2, context=CONTEXT) as server:
        yield server.url


async def a_rehearsal(wanted: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    yield Candidate(endpoint=RehearsalEndpoint(name="desk"), models=("rehearsal", "rehearsal-2"), lists=False)


async def an_ollama(wanted: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    said = json.dumps({"analysis": "A long one. " * 20, "evidence": ["years"], "verdict_score": 7})
    async with OllamaStandIn(models=["tiny-llama", "tiny-qwen2"], slots=2, reply=lambda body: said) as server:
        endpoint = OllamaEndpoint(name="desk", wire=Wire(server.url), keep_alive="30m")
        yield Candidate(endpoint=endpoint, models=("tiny-llama", "tiny-qwen2"))


async def a_vllm(wanted: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    endpoint = OpenAIEndpoint(name="desk", wire=Wire(wanted.getfixturevalue("llama_url")))
    yield Candidate(endpoint=endpoint, models=("tiny-llama",), unloads=False)


async def a_llamacpp(wanted: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    files = wanted.getfixturevalue("tiny_models")
    endpoint = LlamaCppEndpoint(name="desk", files=files, slots=2, threads=1)
    yield Candidate(endpoint=endpoint, models=("tiny-llama", "tiny-qwen2"))


CANDIDATES: dict[Backend, Entering] = {
    Backend.REHEARSAL: a_rehearsal,
    Backend.OLLAMA: an_ollama,
    Backend.VLLM: a_vllm,
    Backend.LLAMACPP: a_llamacpp,
}


@pytest.fixture(params=CANDIDATES)
async def candidate(request: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    async with asynccontextmanager(CANDIDATES[request.param])(request) as candidate:
        yield candidate
        await candidate.endpoint.close()


@pytest.fixture
async def llamacpp(request: pytest.FixtureRequest) -> AsyncIterator[Candidate]:
    async with asynccontextmanager(a_llamacpp)(request) as candidate:
        yield candidate
        await candidate.endpoint.close()


def listening() -> set[int]:
    """The ports on which this process listens."""
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


def native_threads() -> int:
    """Threads of this process that Python did not start."""
    return int(psutil.Process().num_threads()) - threading.active_count()


def test_every_backend_is_in_the_suite() -> None:
    assert set(CANDIDATES) == set(Backend)


async def test_endpoint_says_name_and_backend(candidate: Candidate, request: pytest.FixtureRequest) -> None:
    assert candidate.endpoint.name == "desk"
    assert candidate.endpoint.backend in Backend
    assert candidate.endpoint.backend.value in request.node.name


async def test_available_names_what_it_serves(candidate: Candidate) -> None:
    available = await candidate.endpoint.available()

    if candidate.lists:
        assert available is not None
        assert available >= set(candidate.models)
        assert "no-such-model" not in available
    else:
        assert available is None


async def test_unknown_model_is_a_setup_error(candidate: Candidate) -> None:
    with pytest.raises(SetupError, match="no-such-model") as caught:
        await candidate.endpoint.load("no-such-model", SAMPLING)

    assert caught.value.kind is ErrorClass.CONFIGURATION
    assert "no-such-model" not in await candidate.endpoint.loaded()


async def test_loaded_names_a_model_until_unloaded(candidate: Candidate) -> None:
    before = await candidate.endpoint.loaded()
    await candidate.load()
    during = await candidate.endpoint.loaded()
    await candidate.endpoint.unload(candidate.models[0])
    after = await candidate.endpoint.loaded()

    assert candidate.models[0] in during
    assert (candidate.models[0] not in before | after) == candidate.unloads


async def test_loading_twice_does_no_harm(candidate: Candidate) -> None:
    await candidate.load()
    first = await candidate.speak()
    await candidate.load()
    second = await candidate.speak()

    assert candidate.models[0] in await candidate.endpoint.loaded()
    assert first.text == second.text


async def test_unloading_twice_does_no_harm(candidate: Candidate) -> None:
    await candidate.load()
    await candidate.endpoint.unload(candidate.models[0])
    await candidate.endpoint.unload(candidate.models[0])

    assert (candidate.models[0] in await candidate.endpoint.loaded()) != candidate.unloads


async def test_models_can_take_turns(candidate: Candidate) -> None:
    replies = []
    for model in candidate.models * 2:
        await candidate.endpoint.load(model, SAMPLING)
        replies.append(await candidate.endpoint.speak(replace(candidate.request(), model=model)))
        await candidate.endpoint.unload(model)

    assert len(replies) == 2 * len(candidate.models)
    assert replies[0].text == replies[len(candidate.models)].text


async def test_reply_is_json_in_declared_order(candidate: Candidate) -> None:
    await candidate.load()

    reply = json.loads((await candidate.speak()).text)

    assert list(reply) == KEYS
    assert isinstance(reply["analysis"], str)
    assert all(isinstance(quote, str) for quote in reply["evidence"])
    assert reply["verdict_score"] in range(11)


async def test_tokens_of_prompt_and_reply_are_counted(candidate: Candidate) -> None:
    await candidate.load()

    short = (await candidate.speak()).usage
    long = (await candidate.speak(RECORD + " and so on" * 50)).usage

    assert (short.prompt_tokens or 0) >= 1
    assert (short.reply_tokens or 0) >= 1
    assert (long.prompt_tokens or 0) >= (short.prompt_tokens or 0) + 100


async def test_same_request_gives_the_same_text(candidate: Candidate) -> None:
    await candidate.load()

    replies = [await candidate.speak() for _ in range(3)]

    assert all(before.text == after.text for before, after in pairwise(replies))


async def test_cut_reply_overflows_and_is_kept(candidate: Candidate) -> None:
    await candidate.load()
    whole = await candidate.speak()

    with pytest.raises(OverflowingError) as caught:
        await candidate.speak(reply_limit=40)

    # llama.cpp takes leading white space off a whole reply only.
    partial = caught.value.reply.lstrip()
    assert partial
    assert whole.text.startswith(partial)
    assert partial != whole.text


async def test_prompt_beyond_the_context_overflows(candidate: Candidate) -> None:
    await candidate.load()

    with pytest.raises(OverflowingError) as caught:
        await candidate.speak("word " * 4 * CONTEXT)

    assert caught.value.kind is ErrorClass.OVERFLOW
    assert caught.value.reply == ""
    assert (await candidate.speak()).text


async def test_several_calls_at_once_all_answer(candidate: Candidate) -> None:
    await candidate.load()

    replies = await asyncio.gather(*(candidate.speak(f"{RECORD} {number}") for number in range(4)))

    assert [list(json.loads(reply.text)) for reply in replies] == [KEYS] * 4


async def test_abandoned_call_harms_no_later_one(candidate: Candidate) -> None:
    await candidate.load()
    abandoned = asyncio.create_task(candidate.speak(f"{RECORD} abandoned"))

    await asyncio.sleep(0.005)
    abandoned.cancel()
    await asyncio.wait({abandoned})

    assert (await candidate.speak()).text


async def test_closing_twice_does_no_harm(candidate: Candidate) -> None:
    await candidate.load()
    await candidate.speak()

    await candidate.endpoint.close()
    await candidate.endpoint.close()


async def test_closing_what_was_never_used(candidate: Candidate) -> None:
    await candidate.endpoint.close()


@pytest.mark.parametrize("end", [LlamaCppServer.kill, LlamaCppServer.terminate])
async def test_server_that_ended_is_down(tiny_models: dict[str, Path], end: Callable[[LlamaCppServer], None]) -> None:
    with LlamaCppServer(tiny_models["tiny-qwen2"], context=CONTEXT) as server:
        candidate = Candidate(endpoint=OpenAIEndpoint(name="desk", wire=Wire(server.url)), models=("tiny-qwen2",))
        await candidate.speak()

        end(server)

        # The first call may still find the connection that the server left behind.
        with pytest.raises(TransientError):
            await candidate.speak()
        with pytest.raises(TransientError) as caught:
            await candidate.speak()
        await candidate.endpoint.close()
    assert caught.value.down


async def test_llamacpp_gives_ports_and_threads_back(llamacpp: Candidate) -> None:
    # The first server of a process starts a thread that stays.
    await llamacpp.endpoint.load(llamacpp.models[0], SAMPLING)
    await llamacpp.endpoint.close()
    ports, threads = listening(), native_threads()
    for model in llamacpp.models:
        await llamacpp.endpoint.load(model, SAMPLING)
    during = listening()

    # An error that somebody keeps must not keep a server.
    with pytest.raises(OverflowingError) as kept:
        await llamacpp.speak(reply_limit=16)
    await llamacpp.endpoint.close()

    assert len(during - ports) == 2
    assert listening() == ports
    assert native_threads() <= threads
    assert kept.value.kind is ErrorClass.OVERFLOW


async def test_llamacpp_restarts_only_for_more_context(llamacpp: Candidate) -> None:
    before = listening()
    ports = []
    for context in (CONTEXT, CONTEXT // 2, 2 * CONTEXT):
        await llamacpp.endpoint.load("tiny-llama", replace(SAMPLING, context=context))
        ports.append(listening() - before)
        await llamacpp.speak()  # leaves a connection, which a restart has to close

    reply = await llamacpp.speak("word " * CONTEXT)

    assert (reply.usage.prompt_tokens or 0) > CONTEXT
    assert [len(open_ports) for open_ports in ports] == [1, 1, 1]
    assert ports[0] == ports[1] != ports[2]


async def test_llamacpp_listens_on_loopback_only(llamacpp: Candidate) -> None:
    before = listening()

    await llamacpp.load()

    connections = psutil.Process().net_connections("tcp")
    hosts = {
        each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port not in before
    }
    assert hosts == {"127.0.0.1"}


async def test_llamacpp_serves_each_slot_whole_context(llamacpp: Candidate) -> None:
    await llamacpp.load()

    replies = await asyncio.gather(*(llamacpp.speak(f"{number} " + "word " * 600) for number in range(2)))

    assert all((reply.usage.prompt_tokens or 0) > 600 for reply in replies)


async def test_llamacpp_speaks_only_what_is_loaded(llamacpp: Candidate) -> None:
    with pytest.raises(SetupError, match="not loaded"):
        await llamacpp.speak()


async def test_llamacpp_refuses_a_broken_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    endpoint = LlamaCppEndpoint(name="desk", files={"broken": broken}, slots=1, threads=1)

    with pytest.raises(SetupError, match=r"broken\.gguf"):
        await endpoint.load("broken", SAMPLING)

    assert await endpoint.loaded() == frozenset()
