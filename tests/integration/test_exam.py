"""Exams of servers that keep their promises and of servers that break one: each sin is found, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.model_server import ModelServer, Profile
from orchestrator.app.casting import Casting
from orchestrator.app.exam.models import Bench, ExamRequest, examine_models, subjects
from orchestrator.app.findings import Finding, Health
from orchestrator.app.rendering import look_at_prompts
from orchestrator.app.workplace import open_workplace
from orchestrator.config import EndpointSettings
from orchestrator.ports import Sampling
from tests.servers.hostile import HostileServer, hangs, nobody_listens
from tests.servers.llamacpp import LlamaCppServer
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply
from tests.servers.promises import Manners, PromisingServer

SAMPLING = Sampling(temperature=0.0, seed=7, context=8192, reply_limit=300, timeout_s=20)
KEPT = {"answers", "thinking", "schema", "key order", "prefix cache", "context", "slots", "too long a prompt"}


def a_bench(home: Path, models: list[str], **settings: Any) -> Bench:
    """An endpoint whose models are to be examined with the prompts of the shipped debate."""
    place = open_workplace(home, {})
    casting = Casting(
        name="here", settings=EndpointSettings.model_validate(settings), models=dict.fromkeys(models, SAMPLING)
    )
    prompts = look_at_prompts(place, place.debate("posting"))[0]
    return Bench(
        casting=casting,
        subjects=[replace(each, prompts=tuple(prompts)) for each in subjects(place.config, casting, [], [])],
    )


async def exam(home: Path, bench: Bench, **request: Any) -> list[Finding]:
    return await examine_models(open_workplace(home, {}).config, [bench], ExamRequest(**request))


def promises(found: list[Finding], model: str = "model") -> dict[str, Finding]:
    """Findings about one model by what was promised."""
    beginning = f"model {model} on here, "
    return {each.about.removeprefix(beginning): each for each in found if each.about.startswith(beginning)}


async def slowly(body: dict[str, Any]) -> str:
    """A reply that takes a while where calls are sent side by side."""
    if "Count from" in body["messages"][1]["content"]:
        await asyncio.sleep(0.2)
    return default_reply(body)


async def load(url: str, model: str, context: int) -> None:
    """Let somebody else load a model on an Ollama."""
    body = {"model": model, "messages": [], "options": {"num_ctx": context}}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/chat", json=body) as answer:
        assert answer.status == 200


async def broken(home: Path, **manners: Any) -> dict[str, Health]:
    """The promises that a server with these manners is found not to keep."""
    async with PromisingServer(manners=Manners(**manners)) as server:
        found = await exam(home, a_bench(home, ["model"], backend="vllm", url=server.url, slots=4))
    return {promise: each.health for promise, each in promises(found).items() if each.health is not Health.GOOD}


async def test_kept_promises_are_all_good(tmp_path: Path) -> None:
    async with PromisingServer(manners=Manners()) as server:
        found = await exam(tmp_path, a_bench(tmp_path, ["model"], backend="vllm", url=server.url, slots=4))

    assert {promise: each.health for promise, each in promises(found).items()} == dict.fromkeys(KEPT, Health.GOOD)
    assert server.most_at_work == 4
    # Two for the cache, four at once, one too long, and the one that shows schema, order and thinking.
    assert len(server.bodies) == 8


@pytest.mark.parametrize(
    ("manners", "expected"),
    [
        ({"schema": "ignored"}, {"schema": Health.BAD}),
        ({"schema": "told"}, {"schema": Health.NOTE}),
        ({"schema": "fields"}, {"schema": Health.NOTE}),
        ({"order": "decided first"}, {"key order": Health.NOTE}),
        ({"order": "sorted"}, {}),
        ({"thinks": "beside"}, {"thinking": Health.NOTE}),
        ({"thinks": "instead"}, {"thinking": Health.BAD}),
        ({"thinks": "to the limit"}, {"thinking": Health.BAD}),
        ({"slots": 1, "says": 1}, {"slots": Health.NOTE}),
        ({"slots": 1}, {"slots": Health.NOTE}),
        ({"says": 0}, {"slots": Health.NOTE}),
        ({"context": 3000}, {"context": Health.NOTE}),
        ({"cuts": True}, {"too long a prompt": Health.BAD}),
        ({"caches": False}, {"prefix cache": Health.NOTE}),
        ({"status": 500}, {"answers": Health.BAD}),
    ],
)
async def test_each_broken_promise_is_found(
    tmp_path: Path, manners: dict[str, Any], expected: dict[str, Health]
) -> None:
    assert await broken(tmp_path, **manners) == expected


async def test_thinking_aloud_spoils_the_schema(tmp_path: Path) -> None:
    assert await broken(tmp_path, thinks="aloud") == {"thinking": Health.BAD, "schema": Health.BAD}


async def test_prompts_that_do_not_fit_are_bad(tmp_path: Path) -> None:
    found = await broken(tmp_path, context=900)

    assert found == {"context": Health.BAD, "prompts": Health.BAD}


async def test_silent_endpoint_is_one_finding(tmp_path: Path) -> None:
    with nobody_listens() as url:
        found = await exam(tmp_path, a_bench(tmp_path, ["model"], backend="ollama", url=url))

    (finding,) = found
    assert (finding.about, finding.health) == ("endpoint here", Health.BAD)
    assert "does not answer" in finding.text


async def test_exam_ends_when_time_is_up(tmp_path: Path) -> None:
    async with HostileServer(hangs) as server:
        bench = a_bench(tmp_path, ["model"], backend="vllm", url=f"{server.url}/v1")
        (finding,) = await exam(tmp_path, bench, within_s=0.05)

    assert (finding.about, finding.health) == ("endpoint here", Health.NOTE)
    assert "give --within more" in finding.text


async def test_ollama_is_left_as_it_was(tmp_path: Path) -> None:
    models = ["a", "b", "other"]
    async with OllamaStandIn(models=models, holds=1, slots=2, reply=slowly, thinks=["b"]) as server:
        place = a_bench(tmp_path, ["a", "b"], backend="ollama", url=server.url, slots=2)
        await load(server.url, "b", context=2048)

        found = await exam(tmp_path, place)

        assert server.loaded == ["b"]
    assert [event for event in server.events if event[0] == "load"] == [("load", model) for model in ("b", "a", "b")]
    assert "evict" not in {event for event, _ in server.events}
    assert server.most_models_wanted == 1
    assert all(each.health is Health.GOOD for model in "ab" for each in promises(found, model).values()), found
    assert promises(found, "a").keys() == KEPT
    assert "2 of 4 calls at once" in promises(found, "a")["slots"].text
    assert "it can" in promises(found, "b")["thinking"].text
    assert "the server gives 8,192" in promises(found, "a")["context"].text


async def test_idle_ollama_is_left_empty(tmp_path: Path) -> None:
    async with OllamaStandIn(models=["a", "b"], slots=1, reply=slowly) as server:
        found = await exam(tmp_path, a_bench(tmp_path, ["a", "b"], backend="ollama", url=server.url, slots=4))

        assert server.loaded == []
    assert promises(found, "a")["slots"].health is Health.NOTE
    assert "1 of 4 calls at once" in promises(found, "a")["slots"].text


async def test_vllm_is_examined_by_its_metrics(tmp_path: Path) -> None:
    profile = Profile.model_validate(
        {
            "kind": "vllm",
            "vllm": {"max_model_len": 8192, "max_num_seqs": 2},
            "models": [{"name": "m", "prefill": 1e5, "decode": 100}],
        }
    )
    async with ModelServer(profile, scale=0.1) as server:
        bench = a_bench(tmp_path, ["m"], backend="vllm", url=f"{server.url}/v1", slots=2)
        found = promises(await exam(tmp_path, bench), "m")

    assert found.keys() == KEPT
    assert {promise for promise, each in found.items() if each.health is not Health.GOOD} == set()
    assert "2 of 4 calls at once" in found["slots"].text


@pytest.mark.slow
async def test_real_llama_server_keeps_its_promises(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    server = LlamaCppServer(tiny_models["tiny-llama"], slots=2, context=8192)
    await asyncio.to_thread(server.__enter__)
    try:
        bench = a_bench(tmp_path, ["tiny-llama"], backend="vllm", url=server.url, slots=2)
        found = promises(await exam(tmp_path, bench), "tiny-llama")
    finally:
        await asyncio.to_thread(server.kill)

    assert {promise: each.health for promise, each in found.items()} == dict.fromkeys(KEPT, Health.GOOD)
    assert "2 by the server's own word" in found["slots"].text


@pytest.mark.slow
async def test_models_in_this_process_are_examined(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    files = {name: str(path) for name, path in tiny_models.items()}
    told: list[str] = []

    found = await exam(
        tmp_path, a_bench(tmp_path, list(files), backend="llamacpp", gguf=files, slots=2), tell=told.append
    )

    for model in files:
        assert {each.health for each in promises(found, model).values()} == {Health.GOOD}
    assert promises(found, "tiny-llama").keys() == KEPT
    assert told[:2] == [f"{next(iter(files))} on here: loading", f"{next(iter(files))} on here: schema"]
