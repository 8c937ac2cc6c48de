"""Two names of one file of weights are found by what the server tells of them, and warned of."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from orchestrator.app.doctor import examine
from orchestrator.app.findings import Health
from orchestrator.app.weights import same_file, shared_weights
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.wire import Wire
from tests.integration.places import ROOT, workplace
from tests.servers.hostile import HostileServer, nobody_listens, says
from tests.servers.ollama import OllamaStandIn

A, B, TWIN = "qwen2.5:7b", "gemma2:9b", "qwen2.5-judge"
RECORDINGS = ROOT / "tests/recordings/ollama"


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]["json"]


def test_names_of_one_file_are_found() -> None:
    told = {"b:1": "blobs/1", "a:latest": "blobs/1", "c": "blobs/2", "d": "", "e": "", "f": "blobs/2", "g": "blobs/3"}

    assert same_file(told) == [("a:latest", "b:1"), ("c", "f")]
    assert same_file({}) == []


async def test_variants_of_one_file_are_warned_of(tmp_path: Path) -> None:
    file = "models/blobs/sha256-0c64"
    cast = {"advocate": A, "critic": B, "judge": TWIN}
    async with OllamaStandIn(models=[A, TWIN, B], weights={A: file, TWIN: file, B: "other"}) as server:
        gpu = f'max_workers = 1\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{server.url}"\n'
        workplace(tmp_path, cast, gpu, records=2)

        said = await asyncio.to_thread(examine, tmp_path, None)
        command = Path(sys.executable).with_name("orchestrate"), "process-pending", "--json"
        run = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=dict(os.environ), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await run.communicate()

    warning = f"{TWIN} and {A} are names of one file of weights on endpoint 'gpu'"
    notes = [finding.text for finding in said if finding.health is Health.NOTE]
    assert [note for note in notes if note.startswith(warning)]
    assert json.loads(out)["warnings"][0].startswith(warning)
    assert json.loads(out)["done"] == 2


async def test_recorded_model_names_its_file() -> None:
    tags, show = recorded("tags"), recorded("show")
    async with HostileServer(says(tags), says({"models": []}), says(show), says({"error": "gone"}, 404)) as server:
        endpoint = OllamaEndpoint(name="desk", wire=Wire(server.url), keep_alive="30m")
        told = await endpoint.weights(["tiny-llama", "tiny-ctx1k:latest"])
        await endpoint.close()

    assert [seen.body for seen in server.seen[2:]] == [{"model": "tiny-llama"}, {"model": "tiny-ctx1k:latest"}]
    assert told["tiny-llama"].endswith("blobs/sha256-0c64b80a7d6dfad40737007d557e043875b520ddf052d03c8fe2924f6e8dfd43")
    assert told["tiny-ctx1k:latest"] == "d3126a5a0f37727272aec083049452410de439803f3a0b6e5e8fa2d4d8ed57d0"


async def test_server_that_is_down_is_not_warned_of() -> None:
    with nobody_listens() as url:
        endpoint = OllamaEndpoint(name="desk", wire=Wire(url), keep_alive="30m")
        assert await shared_weights(endpoint, [A, B]) == []
        await endpoint.close()
