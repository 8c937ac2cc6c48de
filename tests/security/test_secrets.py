"""Whatever fails, a planted key is in no output, no database and no file but its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from orchestrator.redaction import spelled
from tests.acceptance.places import SAMPLE, Place
from tests.servers import hostile
from tests.servers.hostile import HostileServer, Sin, says
from tests.servers.ollama_asks import as_native
from tests.servers.ollama_replies import default_reply

KEY = "sk-planted/Key+0123456789abcdef"
VARIABLE = "PLANTED_KEY"
RECORD: str = json.loads(SAMPLE.read_text(encoding="utf-8").splitlines()[0])["id"]
MODELS = {"data": [{"id": "tiny"}]}
SECRET = json.dumps(KEY).replace("/", "\\/").replace("+", "\\u002b")
SPELLED = "".join(f"\\u{ord(one):04x}" for one in KEY)  # as JSON may spell it

pytestmark = pytest.mark.slow


def in_chat(sin: Sin) -> Sin:
    """A server that lists its model, gives a trial call its reply, and sins when it is asked for a turn."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/completions"):
            return await says(MODELS)(request)
        is_trial = b"Are you ready?" in await request.read()
        return await (_reply('{"ready": true}') if is_trial else sin)(request)

    return answer


async def _repeats_the_header(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": f"bad header: {dict(request.headers)}"}}, status=400)


def _reply(content: str) -> Sin:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return says({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 5}})


CHOICE = json.dumps({"message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"})


async def _no_head(request: web.Request) -> web.StreamResponse:
    """Answer with what no client can read, and the key in it."""
    assert request.transport is not None
    request.transport.write(f"HTTP/1.1 200 OK\r\nBad {KEY}\r\n{KEY}: {KEY}\r\n\r\n".encode())
    request.transport.close()
    return web.Response()


async def _breaks_off(request: web.Request) -> web.StreamResponse:
    return await hostile.breaks_off(request, f'{{"error": "{KEY}", "choices": [{{"'.encode())


def _in_reply(secret: str, **changes: str) -> Sin:
    """A good reply in which `secret` stands as it is in the body; `changes` are fields of its message."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        fields = json.loads(default_reply(as_native(body))) | {"analysis": "The key is HERE."}
        message = {"role": "assistant", "content": json.dumps(fields), **changes}
        usage = {"prompt_tokens": 2000, "completion_tokens": 40}
        told = {"model": body["model"], "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        return web.json_response(text=json.dumps(told).replace("HERE", secret))

    return answer


def _in_pieces(*pieces: str) -> Sin:
    """A reply that comes in pieces, each with some of a text."""
    told = [{"choices": [{"delta": {"content": piece}, "finish_reason": "stop"}]} for piece in pieces]
    return says("".join(f"data: {json.dumps(each)}\n\n" for each in told) + "data: [DONE]\n\n")


DONE, ENDS, FAILS = "done", "ends", "fails"
# Each with what it comes to: verdicts, a run that ends before its first attempt, or an attempt that fails.
SCENARIOS: dict[str, tuple[Sin, str]] = {
    "the key is refused and repeated": (hostile.repeats_the_key, ENDS),
    "refused and repeated with escapes": (says(f'{{"error": {SECRET}}}', 401), ENDS),
    "redirected with the key": (says("", 302, Location=f"http://127.0.0.1:9/{KEY}"), ENDS),
    "no model of that name": (says({"data": [{"id": f"for {KEY}"}]}), ENDS),
    "no model of that name, with escapes": (says(f'{{"data": [{{"id": "for {SPELLED}"}}]}}'), ENDS),
    "a page instead of JSON": (says(f"<p>{KEY}</p>"), ENDS),
    "headers repeated in a 400": (in_chat(_repeats_the_header), FAILS),
    "escapes in a 500": (in_chat(says(f'{{"error": {SECRET}}}', 500)), FAILS),
    "a page instead of a reply": (in_chat(says(f"<p>{KEY}</p>")), FAILS),
    "a page with escapes instead of a reply": (in_chat(says(f"<p>{quote(KEY, safe='')} or {SECRET}</p>")), FAILS),
    "a reply of the wrong form": (in_chat(_reply(f"Bearer {KEY}")), FAILS),
    "a reply of the wrong form in pieces": (in_chat(_in_pieces("Bearer ", KEY[:9], KEY[9:20], KEY[20:])), FAILS),
    "a good reply": (in_chat(_in_reply(KEY)), DONE),
    "a good reply with escapes": (in_chat(_in_reply(SPELLED)), DONE),
    "a good reply with escaped escapes": (in_chat(_in_reply(SECRET.strip('"').replace("\\", "\\\\"))), DONE),
    "a good reply after thinking": (in_chat(_in_reply(SPELLED, reasoning="Is it HERE?")), DONE),
    "an error in a 200": (in_chat(says(f'{{"error": {{"message": {SECRET}}}}}')), FAILS),
    "an error in a stream": (in_chat(says(f'data: {{"error": {{"message": {SECRET}}}}}\n\ndata: [DONE]\n')), FAILS),
    "a refusal with escapes": (in_chat(_in_reply(SPELLED, refusal="I must not say HERE.")), FAILS),
    "another model's name": (in_chat(says(f'{{"model": {SECRET}, "choices": [{CHOICE}]}}')), FAILS),
    "half a body": (in_chat(_breaks_off), FAILS),
    "half a head": (in_chat(_no_head), FAILS),
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
    sin, comes_to = SCENARIOS[scenario]
    async with HostileServer(sin) as server:
        place = place_with_key(tmp_path, source, server.url)
        said = [
            await asyncio.to_thread(_said, place, *words)
            for words in (
                ("submit", "records.jsonl", "--debate", "posting"),
                ("process-pending",),
                ("errors", "--json"),
                ("export", "verdicts.csv"),
                ("show", RECORD),
                ("doctor",),
            )
        ]

    assert [code for code, _ in said] == [0, int(comes_to != DONE), 0, 0, 0, int(comes_to == ENDS)], said
    assert bool(json.loads(said[2][1])["newest"]) is (comes_to == FAILS)
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
