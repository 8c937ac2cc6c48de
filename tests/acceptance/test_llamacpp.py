"""A real llama.cpp with random tiny models: words mean nothing, but every task ends, and ends in a known way."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.places import SAMPLE, Place
from tests.servers.llamacpp import LlamaCppServer

CAST = {"advocate": "tiny-llama", "critic": "tiny-qwen2", "judge": "tiny-llama"}
CLASSES = {"overflow", "shape"}


@pytest.mark.slow
def test_two_real_servers_end_every_task(place: Place, tiny_models: dict[str, Path]) -> None:
    with (
        LlamaCppServer(tiny_models["tiny-llama"], slots=2, context=16384) as llama,
        LlamaCppServer(tiny_models["tiny-qwen2"], slots=2, context=16384) as qwen,
    ):
        place.cards(CAST, reply_limit=300, context=8192)
        place.one_label()
        tables = [
            f'[endpoints.{name}]\nbackend = "vllm"\nurl = "{url}"\nmodels = ["{name}"]\n'
            for name, url in (("tiny-llama", llama.url), ("tiny-qwen2", qwen.url))
        ]
        place.settings("max_workers = 2\n" + "".join(tables))
        place.run("submit", SAMPLE, "--debate", "posting")

        end = place.json("process-pending")

    assert (end["status"], end["left"]) == ("done", 0)
    assert end["done"] + end["failed"] == 42
    ends_are_known(place)


@pytest.mark.slow
def test_killed_server_is_waited_for(place: Place, tiny_models: dict[str, Path]) -> None:
    with LlamaCppServer(tiny_models["tiny-llama"], slots=4, context=8192) as server:
        place.cards(dict.fromkeys(CAST, "tiny-llama"), reply_limit=300, context=8192)
        place.one_label()
        place.settings(f'max_workers = 4\n[endpoints.desk]\nbackend = "vllm"\nurl = "{server.url}"\n')
        place.run("submit", SAMPLE, "--debate", "posting")
        running = place.start("process-pending", "--max-tasks", "16", "--json")
        place.until_spoken(8)
        server.kill()
        place.until("SELECT max(reason) <> '' FROM runs")
    with LlamaCppServer(tiny_models["tiny-llama"], slots=4, context=8192, port=urlsplit(server.url).port or 0):
        out, _ = running.communicate(timeout=240)

    end = json.loads(out)
    assert (end["status"], end["done"] + end["failed"]) == ("done", 16)
    # What fell to the outage cost no attempt: whatever failed did so for what the model said.
    ends_are_known(place)
    place.run("db", "verify")


@pytest.mark.slow
def test_models_in_this_process_take_turns(place: Place, tiny_models: dict[str, Path]) -> None:
    in_process(place, tiny_models)
    place.one_label()
    place.run("submit", SAMPLE, "--debate", "posting")

    end = place.json("process-pending", "--max-tasks", "8")

    assert end["done"] + end["failed"] == 8
    assert end["swaps"] <= 3
    ends_are_known(place)


@pytest.mark.slow
def test_word_and_score_by_chance_are_no_verdict(place: Place, tiny_models: dict[str, Path]) -> None:
    in_process(place, tiny_models)
    place.run("submit", SAMPLE, "--debate", "posting")

    place.start("process-pending", "--max-tasks", "4").communicate(timeout=240)

    said = "SELECT count(*) FROM turns WHERE role = 'judge'"
    agreed = f"{said} AND (SELECT label FROM verdicts WHERE turn_id = turns.id) = json_extract(reply, '$.verdict_side')"
    refused = "SELECT count(DISTINCT task_id) FROM attempts WHERE guard = 'contradiction' AND asks >= 2"
    assert place.rows(said) == place.rows(agreed)
    assert place.rows(agreed)[0][0] + place.rows(refused)[0][0] >= 4


def in_process(place: Place, models: dict[str, Path]) -> None:
    place.cards(CAST, reply_limit=300, context=8192)
    files = ", ".join(f'"{name}" = "{models[name]}"' for name in set(CAST.values()))
    place.settings(f'max_workers = 2\n[endpoints.here]\nbackend = "llamacpp"\ngguf = {{ {files} }}\n')


def ends_are_known(place: Place) -> None:
    done = place.rows("SELECT count(*) FROM tasks WHERE status = 'done'")[0][0]
    assert done > 0
    assert place.rows("SELECT count(*) FROM verdicts") == [(done,)]
    assert place.rows("SELECT count(*) FROM turns WHERE prompt_tokens > 100 AND reply_tokens > 0")[0][0] >= 3 * done
    failed = place.rows("SELECT DISTINCT error_class FROM tasks WHERE status = 'failed'")
    assert {kind for (kind,) in failed} <= CLASSES
    kept = "SELECT count(*) FROM tasks t WHERE status = 'failed' AND id NOT IN (SELECT task_id FROM attempts)"
    assert place.rows(kept) == [(0,)]
