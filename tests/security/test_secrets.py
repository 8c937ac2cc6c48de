"""Whatever fails, a planted key is in no output, no database and no file but its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.redaction import spelled
from tests.acceptance.places import SAMPLE, Place
from tests.servers import hostile
from tests.servers.hostile import HostileServer, Sin, says

KEY = "sk-planted/Key+0123456789abcdef"
VARIABLE = "PLANTED_KEY"
MODELS = {"data": [{"id": "tiny"}]}
SECRET = json.dumps(KEY).replace("/", "\\/").replace("+", "\\u002b")

pytestmark = pytest.mark.slow


def in_chat(sin: Sin) -> Sin:
    """A server that lists its model, and sins when it is asked to speak."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (sin if request.path.endswith("/completions") else says(MODELS))(request)

    return answer


async def _repeats_the_header(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": f"bad header: {dict(request.headers)}"}}, status=400)


def _reply(content: str) -> Sin:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return says({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 5}})


# Each with whether it is an attempt that fails; the others end the run before the first.
SCENARIOS: dict[str, tuple[Sin, bool]] = {
    "the key is refused and repeated": (hostile.repeats_the_key, False),
    "refused and repeated with escapes": (says(f'{{"error": {SECRET}}}', 401), False),
    "redirected with the key": (says("", 302, Location=f"http://127.0.0.1:9/{KEY}"), False),
    "no model of that name": (says({"data": [{"id": f"for {KEY}"}]}), False),
    "a page instead of JSON": (says(f"<p>{KEY}</p>"), False),
    "headers repeated in a 400": (in_chat(_repeats_the_header), True),
    "escapes in a 500": (in_chat(says(f'{{"error": {SECRET}}}', 500)), True),
    "a page instead of a reply": (in_chat(says(f"<p>{KEY}</p>")), True),
    "a reply of the wrong form": (in_chat(_reply(f"Bearer {KEY}")), True),
    "half a body": (in_chat(hostile.breaks_off), True),
}


SOURCES = (f'api_key_env = "{VARIABLE}"', 'api_key_file = "planted.key"')


def place_with_key(tmp_path: Path, source: str, url: str) -> Place:
    """A folder with one record, and a key from one of the sources."""
    place = Place(tmp_path)
    place.cards(dict.fromkeys(("advocate", "critic", "judge"), "tiny"))
    (tmp_path / "records.jsonl").write_text(SAMPLE.read_text(encoding="utf-8").splitlines()[0] + "\n")
    (tmp_path / "planted.key").write_text(KEY + "\n")
    place.settings(f'max_attempts = 1\n[endpoints.desk]\nbackend = "vllm"\nurl = "{url}/v1"\n{source}\n')
    return place


def hits(place: Place, *outputs: str) -> list[str]:
    """Where the key stands, in any spelling, or a piece of it that nothing else has."""
    found = [
        f"output {number}" for number, text in enumerate(outputs) if spelled(KEY).search(text) or "planted/" in text
    ]
    for path in place.home.rglob("*"):
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() and path.name != "planted.key" else ""
        if spelled(KEY).search(text) or "0123456789abcdef" in text:
            found.append(path.name)
    return found


@pytest.mark.parametrize(("scenario", "source"), [*zip(SCENARIOS, itertools.cycle(SOURCES))])
async def test_key_shows_nowhere_when_a_server_fails(tmp_path: Path, scenario: str, source: str) -> None:
    sin, is_attempt = SCENARIOS[scenario]
    async with HostileServer(sin) as server:
        place = place_with_key(tmp_path, source, server.url)
        said = [
            await asyncio.to_thread(_said, place, *words)
            for words in (
                ("submit", "records.jsonl", "--debate", "posting"),
                ("process-pending",),
                ("errors", "--json"),
                ("export", "verdicts.csv"),
                ("doctor",),
            )
        ]

    assert [code for code, _ in said] == [0, 1, 0, 0, 0 if is_attempt else 1], said
    assert bool(json.loads(said[2][1])["newest"]) is is_attempt
    assert any(call.headers.get("Authorization") == f"Bearer {KEY}" for call in server.seen)
    assert hits(place, *(text for _, text in said)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        f'api_key = "{KEY}"',
        f'api_key_env = "{KEY}"',
        f'api_key_file = "{KEY}"',
        f'api_key_env = "{VARIABLE}"\nkeep_alive = "{KEY}"',
        f'api_key_env = "{VARIABLE}"\nmodels = "{KEY}"',
        f'api_key_env = "{VARIABLE}"\napi_key_file = "{KEY}"',
        f"api_key_env = {KEY}",
    ],
)
def test_key_in_a_wrong_place_is_not_repeated(tmp_path: Path, wrong: str) -> None:
    place = Place(tmp_path)
    place.settings(f'[endpoints.desk]\nbackend = "vllm"\nurl = "http://127.0.0.1:9/v1"\n{wrong}\n')

    said = [_said(place, "process-pending", "--json"), _said(place, "doctor")]
    (tmp_path / "orchestrate.toml").unlink()

    assert [code for code, _ in said] == [1, 1]
    assert hits(place, *(text for _, text in said)) == []


def _said(place: Place, *words: str) -> tuple[int, str]:
    running = place.start(*words, **{VARIABLE: KEY})
    out, err = running.communicate(timeout=240)
    return running.returncode, out + err
