"""The stand-in answers as the recorded server did, and keeps its loading rules."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest

from tests.servers.comparing import facts, read, shape
from tests.servers.ollama import OllamaStandIn, RunnerDied

Answering: TypeAlias = asyncio.Task[tuple[int, Any]]

TESTS = Path(__file__).parents[1]
MODELS = ["tiny-llama", "tiny-qwen2", "tiny-ctx1k", "mid-llama"]
A, B, C = "qwen2.5:7b", "gemma2:9b", "llama3.2:1b"
# The recorded tiny model counts 5 tokens for every two words `word word `.
RECORDED_CHARS_PER_TOKEN = 2.5
# A recorded call that had to load waited 250 ms and more, one that did not 6 ms at most.
RECORDED_LOAD_NS = 100_000_000

ONE_BY_ONE = (
    "root version tags v1_models show show_missing ps_empty health_404 host_header_403 chat_get_405 chat_empty_body "
    "chat_bad_json chat_no_model chat_unknown_model chat_bad_keep_alive chat_bad_option_type chat_think_unsupported "
    "chat_tools_unsupported chat_format_bad_schema chat_format_bad_string chat_format_json chat_format_schema "
    "chat_format_schema_truncated chat_first_load chat_stop chat_stream chat_unknown_option keep_alive_load_only "
    "keep_alive_0_unload ctx_overflow_last_message ctx_overflow_truncate_false ctx_overflow_shift_false v1_chat "
    "v1_chat_json_schema v1_chat_stream_usage v1_chat_unknown_model"
)
OPTIONS_IN_ORDER = (
    "num_ctx_0_4096 num_ctx_1_2048 num_ctx_2_2048 num_ctx_3_4096 num_ctx_4_1000000 opt_baseline opt_num_batch "
    "opt_num_batch_back opt_num_thread opt_num_thread_back opt_num_gpu0 opt_num_gpu_back opt_use_mmap_true "
    "opt_use_mmap_back opt_temperature_only opt_num_keep opt_seed opt_shift_false opt_shift_default "
    "opt_truncate_false"
)
MODELS_IN_ORDER = (
    "switch_0_tiny-llama switch_1_tiny-qwen2 switch_2_tiny-llama switch_3_mid-llama "
    "switch_4_tiny-llama switch_5_mid-llama switch_6_mid-llama"
)


class Client:
    """Speaks to one stand-in over one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def chat(self, server: OllamaStandIn, model: str, text: str = "x", **more: Any) -> tuple[int, Any]:
        messages = [{"role": "user", "content": text}] if text else []
        body = {"model": model, "messages": messages, "stream": False} | more
        async with self.session.post(f"{server.url}/api/chat", json=body) as response:
            return response.status, await response.json()

    def start(self, server: OllamaStandIn, model: str, text: str = "x", **more: Any) -> Answering:
        return asyncio.create_task(self.chat(server, model, text, **more))

    async def get(self, server: OllamaStandIn, path: str) -> Any:
        async with self.session.get(server.url + path) as response:
            return await response.json()

    async def replay(self, server: OllamaStandIn, request: dict[str, Any]) -> tuple[int, str, str]:
        body = request["body"]
        raw = body if isinstance(body, str | None) else json.dumps(body)
        asked = (request["method"], server.url + request["path"])
        async with self.session.request(*asked, data=raw, headers=request["headers"]) as response:
            return response.status, response.headers.get("Content-Type", ""), await response.text()


class Hold:
    """A reply that keeps its model busy for every message `hold` until released."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def __call__(self, body: dict[str, Any]) -> str:
        if body["messages"][-1]["content"] == "hold":
            await self.free.wait()
        return "some plain words"


@pytest.fixture
def hold() -> Hold:
    return Hold()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Client(session)


def recorded(name: str) -> Any:
    return json.loads((TESTS / "recordings" / "ollama" / f"{name}.json").read_text())


def recording_server(**more: Any) -> OllamaStandIn:
    return OllamaStandIn(models=MODELS, chars_per_token=RECORDED_CHARS_PER_TOKEN, **more)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def start_swap(client: Client, server: OllamaStandIn, **more: Any) -> tuple[Answering, Answering]:
    """A is busy until the hold is released, B waits for it to leave."""
    first = client.start(server, A, "hold", **more)
    await until(lambda: server.loads == 1)
    second = client.start(server, B)
    await until(lambda: server.waiting == 1)
    return first, second


async def start_program(*options: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.servers.ollama", *options)
    return await asyncio.create_subprocess_exec(*command, cwd=TESTS.parent, stdout=asyncio.subprocess.PIPE)


async def hangs(task: Answering) -> bool:
    done, _ = await asyncio.wait({task}, timeout=0.05)
    return not done


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
        loads = [server.loads]
        for recording in recordings:
            await client.replay(server, recording["request"])
            loads.append(server.loads)

    assert [after > before for before, after in pairwise(loads)] == expected


async def test_prompt_is_cut_as_recorded(client: Client) -> None:
    last, history = recorded("ctx_overflow_last_message"), recorded("ctx_overflow_history_dropped")

    async with recording_server() as server:
        _, _, cut = await client.replay(server, last["request"])
        _, _, dropped = await client.replay(server, history["request"])

    assert json.loads(cut)["prompt_eval_count"] == last["response"]["json"]["prompt_eval_count"]
    recorded_count = history["response"]["json"]["prompt_eval_count"]
    assert json.loads(dropped)["prompt_eval_count"] == pytest.approx(recorded_count, rel=0.02)


@pytest.mark.parametrize(
    ("name", "keep_alive", "models"),
    [("ps_loaded", "5m", 1), ("ps_two_models", "5m", 2), ("ps_keep_alive_forever", -1, 1)],
)
async def test_loaded_models_look_as_recorded(client: Client, name: str, keep_alive: Any, models: int) -> None:
    expected = recorded(name)["response"]["json"]

    async with recording_server(holds=2) as server:
        for model in MODELS[:models]:
            await client.chat(server, model, keep_alive=keep_alive)
        running = await client.get(server, "/api/ps")

    assert shape(running) == shape(expected)
    assert [model["name"] for model in running["models"]] == [model["name"] for model in expected["models"]]
    assert [model["expires_at"] > "23" for model in running["models"]] == [keep_alive == -1] * models


async def test_full_queue_refuses_as_recorded(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], max_queue=2, reply=hold) as server:
        busy = client.start(server, A, "hold")
        await until(lambda: server.loads == 1)

        asked = [client.start(server, B) for _ in range(6)]
        await until(lambda: sum(task.done() for task in asked) == 3)
        hold.free.set()
        answers = await asyncio.gather(busy, *asked)

    expected = recorded("queue_full_2")["response"]["json"]
    assert [answer for status, answer in answers if status == 503] == [expected] * 3
    assert [status for status, _ in answers].count(200) == 4


async def test_full_queue_refuses_openai_calls(client: Client, hold: Hold) -> None:
    body = {"model": C, "messages": [{"role": "user", "content": "x"}]}
    async with OllamaStandIn(models=[A, B, C], max_queue=0, reply=hold) as server:
        swapping = await start_swap(client, server)

        async with client.session.post(f"{server.url}/v1/chat/completions", json=body) as response:
            answer = await response.json()
        hold.free.set()
        await asyncio.gather(*swapping)

    expected = recorded("v1_queue_full_3")["response"]
    assert (response.status, answer) == (expected["status"], expected["json"])


async def test_eviction_waits_for_idle_model(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], reply=hold) as server:
        first, second = await start_swap(client, server)

        before = list(server.events)
        hold.free.set()
        await asyncio.gather(first, second)

    assert (before, server.loads, server.most_models_wanted) == ([("load", A)], 2, 2)
    assert server.events == [("load", A), ("evict", A), ("load", B)]


async def test_loaded_model_bypasses_the_queue(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], slots=2, reply=hold) as server:
        first, second = await start_swap(client, server, keep_alive=-1)

        status, _ = await client.chat(server, A)
        overtaken = not second.done()
        hold.free.set()
        await asyncio.gather(first, second)

    assert (status, overtaken) == (200, True)
    assert server.events == [("load", A), ("evict", A), ("load", B)]


async def test_waiting_loads_keep_their_order(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B, C], reply=hold) as server:
        tasks = [client.start(server, A, "hold")]
        await until(lambda: server.loads == 1)
        for number, model in enumerate([B, C, B], start=1):
            tasks.append(client.start(server, model))
            await until(lambda number=number: server.waiting == number)  # type: ignore[misc]

        hold.free.set()
        await asyncio.gather(*tasks)

    assert [model for event, model in server.events if event == "load"] == [A, B, C, B]
    assert server.most_models_wanted == 3


async def test_keep_alive_during_drain_locks_up(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], slots=2, reply=hold) as server:
        first, second = await start_swap(client, server)

        await client.chat(server, A, keep_alive=-1)
        hold.free.set()
        await first
        hung = await hangs(second)
        await client.chat(server, A, "", keep_alive=0)
        status, _ = await second

    assert (hung, status) == (True, 200)
    assert server.events == [("load", A), ("unload", A), ("load", B)]


async def test_lock_up_outlives_its_client(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B, C], slots=2, reply=hold) as server:
        first, second = await start_swap(client, server)
        await client.chat(server, A, keep_alive=-1)
        hold.free.set()
        await first

        second.cancel()
        await until(lambda: server.calls[-1].status == 499)
        third = client.start(server, C)
        hung = await hangs(third)
        await client.chat(server, A, "", keep_alive=0)
        await third

    assert hung
    assert server.events == [("load", A), ("unload", A), ("abort", B), ("load", C)]


async def test_finite_keep_alive_delays_eviction(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], slots=2, reply=hold, time_scale=0.0001) as server:
        first, second = await start_swap(client, server)

        await client.chat(server, A, keep_alive="10m")
        hold.free.set()
        await asyncio.gather(first, second)

    assert server.events == [("load", A), ("unload", A), ("load", B)]


async def test_reload_waits_for_idle_model(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A], slots=2, reply=hold) as server:
        first = client.start(server, A, "hold")
        await until(lambda: server.loads == 1)
        second = client.start(server, A, options={"num_ctx": 8192})
        await until(lambda: server.waiting == 1)

        before = server.loads
        hold.free.set()
        await asyncio.gather(first, second)
        running = await client.get(server, "/api/ps")

    assert (before, server.events) == (1, [("load", A), ("reload", A)])
    assert running["models"][0]["context_length"] == 8192


async def test_calls_during_load_share_it(client: Client) -> None:
    async with OllamaStandIn(models=[A, B], slots=4, load_s=0.08) as server:
        tasks = [client.start(server, A)]
        await until(lambda: server.waiting == 1)
        tasks += [client.start(server, B)]
        await until(lambda: server.waiting == 2)
        await asyncio.gather(*tasks, *(client.chat(server, A) for _ in range(3)))

    assert server.events == [("load", A), ("evict", A), ("load", B)]


async def test_cancelled_load_leaves_nothing_loaded(client: Client) -> None:
    async with OllamaStandIn(models=[A], load_s=5) as server:
        task = client.start(server, A)
        await until(lambda: server.waiting == 1)

        task.cancel()
        await until(lambda: server.calls and not server.loaded)
        running = await client.get(server, "/api/ps")

    assert running == {"models": []}
    assert (server.events, server.loads, server.calls[0].status) == ([("abort", A)], 0, 499)


async def test_keep_alive_ends_by_itself(client: Client) -> None:
    async with OllamaStandIn(models=[A], time_scale=0.001) as server:
        await client.chat(server, A, keep_alive="3s")
        await until(lambda: not server.loaded)

    assert server.events == [("load", A), ("unload", A)]


@pytest.mark.parametrize(
    ("keep_alive", "unloads"), [(0, True), ("0s", True), (-1, False), ("-1m", False), (90, False), ("1h5m", False)]
)
async def test_keep_alive_zero_unloads_after_reply(client: Client, keep_alive: Any, unloads: bool) -> None:
    async with OllamaStandIn(models=[A]) as server:
        status, _ = await client.chat(server, A, keep_alive=keep_alive)

    assert status == 200
    assert (("unload", A) in server.events) is unloads


async def test_load_duration_covers_the_whole_wait(client: Client, hold: Hold) -> None:
    async with OllamaStandIn(models=[A, B], load_s=0.02, reply=hold) as server:
        first, second = await start_swap(client, server)
        await asyncio.sleep(0.02)
        hold.free.set()
        await first
        _, answer = await second

    assert answer["load_duration"] > 40_000_000
    assert answer["total_duration"] >= answer["load_duration"]


async def test_wait_for_slot_counts_nowhere(client: Client) -> None:
    parts = ("load_duration", "prompt_eval_duration", "eval_duration")

    async with OllamaStandIn(models=[A], slots=1, latency_s=0.03) as server:
        await client.chat(server, A, "")
        answers = await asyncio.gather(*(client.chat(server, A) for _ in range(3)))

    waits = [answer["total_duration"] - sum(answer[part] for part in parts) for _, answer in answers]
    assert max(waits) > 30_000_000


async def test_reply_is_cut_at_num_predict(client: Client) -> None:
    async with OllamaStandIn(models=[A], reply=lambda body: "abcdefghijkl") as server:
        _, cut = await client.chat(server, A, options={"num_predict": 2})
        _, whole = await client.chat(server, A, options={"num_predict": 4})

    assert (cut["message"]["content"], cut["done_reason"], cut["eval_count"]) == ("abcdefgh", "length", 2)
    assert (whole["message"]["content"], whole["done_reason"], whole["eval_count"]) == ("abcdefghijkl", "stop", 4)


async def test_default_reply_satisfies_the_schema(client: Client) -> None:
    properties = {
        "verdict": {"enum": ["against", "for"]},
        "score": {"type": "integer", "minimum": 3},
        "quotes": {"type": "array", "items": {"type": "string"}},
        "sure": {"type": "boolean"},
        "inner": {"$ref": "#/$defs/inner"},
    }
    inner = {"type": "object", "properties": {"why": {"type": "string", "minLength": 6, "maxLength": 8}}}
    schema = {"type": "object", "properties": properties, "$defs": {"inner": inner}}

    async with OllamaStandIn(models=[A]) as server:
        _, answer = await client.chat(server, A, format=schema)

    said = json.loads(answer["message"]["content"])
    assert list(said) == list(properties)
    assert said == {"verdict": "against", "score": 3, "quotes": [], "sure": False, "inner": {"why": "text.."}}


@pytest.mark.parametrize(
    ("name", "stream"),
    [("runner_killed_nonstream", False), ("runner_killed_nonstream", True), ("v1_runner_killed_nonstream", False)],
)
async def test_killed_runner_fails_as_recorded(client: Client, name: str, stream: bool) -> None:
    async def die(body: dict[str, Any]) -> str:
        raise RunnerDied("[1, 2, 3")

    recording = recorded(name)
    request = recording["request"] | {"body": recording["request"]["body"] | {"stream": stream}}
    async with recording_server(reply=die) as server:
        status, _, text = await client.replay(server, request)
        await client.replay(server, request)

    assert status == (200 if stream else 500)
    assert json.loads(text.splitlines()[-1]) == recording["response"]["json"]
    assert server.events == [("load", "tiny-llama"), ("reload", "tiny-llama")]


async def test_every_call_is_written_down(client: Client) -> None:
    async with OllamaStandIn(models=[A]) as server:
        await client.get(server, "/api/ps")
        await client.chat(server, A, "", keep_alive="1m")
        await client.chat(server, A, think=True)
        await client.chat(server, A)
        await client.chat(server, A, "", keep_alive=0)

    assert [call.seq for call in server.calls] == [1, 2, 3, 4, 5]
    expected = [("ps", 200), ("load", 200), ("chat", 400), ("chat", 200), ("unload", 200)]
    assert [(call.kind, call.status) for call in server.calls] == expected
    assert server.calls[3].body["messages"] == [{"role": "user", "content": "x"}]
    assert all(call.started <= call.finished for call in server.calls)


async def test_program_serves_until_it_is_stopped(client: Client, tmp_path: Path) -> None:
    book = tmp_path / "calls.jsonl"
    program = await start_program("--models", f"{A},{B}", "--calls", str(book), "--latency", "0.001")
    assert program.stdout is not None
    server = OllamaStandIn(models=[A])
    server.url = (await program.stdout.readline()).decode().strip()

    status, _ = await client.chat(server, A)
    written = [json.loads(line) for line in book.read_text().splitlines()]
    program.terminate()

    assert (status, await program.wait()) == (200, 0)
    assert [(call["seq"], call["kind"], call["model"], call["status"]) for call in written] == [(1, "chat", A, 200)]


async def test_program_ends_after_its_lifetime() -> None:
    program = await start_program("--models", A, "--lifetime", "0.01")

    async with asyncio.timeout(5):
        output, _ = await program.communicate()

    assert (output[:17], program.returncode) == (b"http://127.0.0.1:", 0)
