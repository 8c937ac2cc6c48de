"""The model server's times, on a virtual clock: what a call costs follows from the profile to the last digit."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.model_server import load_profile
from benchmarks.model_server.counts import Counts
from benchmarks.model_server.events import Simulation
from benchmarks.model_server.ollama_model import Call, OllamaModel
from benchmarks.model_server.pace import Pace
from benchmarks.model_server.profile import Profile
from benchmarks.model_server.prompts import Prompt, render
from benchmarks.model_server.sharing import Gpu, Phase, Rates
from benchmarks.model_server.vllm_model import Call as VllmCall
from benchmarks.model_server.vllm_model import VllmModel
from tests.servers.ollama_replies import Tokens
from tests.servers.ollama_runners import Settings

QWEN, GEMMA = 0, 1
RULE = Tokens()
BATCHING = ((1, 1.0), (2, 1.8), (4, 3.0), (8, 3.7))
# Tokens of the shipped debate: its rules; a record and a role's instruction; a statement, with its fences.
RULES, RECORD, STATEMENT = 682, 707, 190


class Ollama:
    """A server without sockets; every call notes when it ended."""

    def __init__(self, *changes: str, profile: str = "laptop") -> None:
        self.sim = Simulation()
        self.profile = load_profile(profile, changes)
        self.counts = Counts(self.sim)
        self.model = OllamaModel(self.sim, self.profile, self.counts)

    def start(self, model: int, prompt: Prompt, tokens: int = 150, **settings: Any) -> Call:
        call = Call(
            model=self.profile.models[model],
            settings=Settings(**{"num_ctx": 4096, **settings}),
            keep_s=None,
            done=lambda: None,
            prompt=prompt,
            reply_tokens=tokens,
        )
        self.model.submit(call)
        return call

    def run(self, model: int, prompt: Prompt, tokens: int = 150, **settings: Any) -> float:
        """The seconds a call takes on a server with nothing else to do."""
        began = self.sim.now
        call = self.start(model, prompt, tokens, **settings)
        self.settle()
        return call.ended - began

    def settle(self) -> None:
        """Let everything end that does not wait for a `keep_alive`."""
        while self.counts.level("in_flight").value:
            self.sim.step()


def text(tokens: int, opening: str = "") -> Prompt:
    """A prompt of so many tokens."""
    return Prompt(text=opening.ljust(4 * tokens, "."), tokens=tokens)


def debate(number: int) -> Sequence[tuple[int, Prompt, int]]:
    """The three turns of one debate: model, prompt, tokens of the reply."""
    rules = {"role": "system", "content": "r" * 4 * RULES}
    record = f"{number:06d}".ljust(4 * (RECORD - 75), ".")
    users = [
        record + turns + role.ljust(300, "x") for turns, role in zip(("", "a" * 760, "a" * 1520), "ABJ", strict=True)
    ]
    prompts = [render([rules, {"role": "user", "content": user}], RULE) for user in users]
    return list(zip((QWEN, GEMMA, QWEN), prompts, (150, 150, 80), strict=True))


def test_one_debate_after_another_costs_as_calibrated() -> None:
    server = Ollama()
    for number in range(20):
        for turn in debate(number):
            server.run(*turn)

    counted = server.counts.as_json()
    assert counted["loads"] == 2 * 20 + 1
    assert counted["span_s"] / 20 == pytest.approx(15.5, abs=0.15)
    assert counted["busy_s"] + counted["loading_s"] + counted["idle_s"] == pytest.approx(counted["counted_s"])


def test_two_calls_on_one_slot_queue() -> None:
    server = Ollama()
    alone = server.run(QWEN, text(1, "warm"))

    first = server.start(QWEN, text(1200, "a"))
    second = server.start(QWEN, text(1200, "b"))
    server.settle()

    assert alone == pytest.approx(1.8 + 1 / 1200 + 150 / 57)
    assert first.ended - first.arrived == pytest.approx(1 + 150 / 57)
    assert second.ended - second.arrived == pytest.approx(2 * (1 + 150 / 57))
    assert second.granted == second.arrived


@pytest.mark.parametrize(("streams", "times"), [(1, 1.0), (2, 1.8), (3, 2.4), (4, 3.0), (6, 3.35), (8, 3.7), (12, 3.7)])
def test_streams_take_the_rate_of_the_table(streams: int, times: float) -> None:
    sim = Simulation()
    gpu = Gpu(sim, 0.9, lambda busy: None)
    rates = Rates(prefill=1000, decode=50, batching=BATCHING)
    ends: list[float] = []

    for _ in range(streams):
        gpu.start("m", Phase.DECODE, rates, 100, lambda: ends.append(sim.now))
    sim.run()

    assert ends == pytest.approx([100 * streams / (50 * times)] * streams)


def test_arrivals_and_departures_change_the_pace() -> None:
    sim = Simulation()
    gpu = Gpu(sim, 0.9, lambda busy: None)
    rates = Rates(prefill=100, decode=10, batching=((1, 1.0), (2, 1.5)))
    ends: dict[str, float] = {}

    gpu.start("m", Phase.DECODE, rates, 30, lambda: ends.update(first=sim.now))
    sim.run(1.0)
    gpu.start("m", Phase.DECODE, rates, 30, lambda: ends.update(second=sim.now))
    sim.run()

    # 10 tokens alone; then 7.5 tokens/s each until the first is done; then alone again.
    assert ends == pytest.approx({"first": 1 + 20 / 7.5, "second": 1 + 20 / 7.5 + 1.0})


def test_no_order_of_work_loses_time() -> None:
    sim = Simulation()
    gpu = Gpu(sim, 0.7, lambda busy: None)
    for number in range(40):
        name, phase = f"m{number % 3}", list(Phase)[number % 2]
        sim.run(number * 0.01)
        gpu.start(name, phase, Rates(prefill=100, decode=100), 10 + number, lambda: None)

    sim.run()

    assert sim.now == pytest.approx(sum(10 + number for number in range(40)) / 100)
    assert sum(gpu.spent.values()) == pytest.approx(sim.now)


@pytest.mark.parametrize("shared", [0, 400, 1000])
def test_reuse_saves_exactly_the_shared_tokens(shared: int) -> None:
    server = Ollama()
    server.run(QWEN, Prompt(text="s" * 4 * shared + "a" * 4 * (1200 - shared), tokens=1200))

    took = server.run(QWEN, Prompt(text="s" * 4 * shared + "b" * 4 * (1200 - shared), tokens=1200))

    assert took == pytest.approx((1200 - shared) / 1200 + 150 / 57)
    assert server.counts.total["cached_tokens"] == shared


def test_each_slot_keeps_its_own_prompt() -> None:
    server = Ollama("slots=2")
    both = [server.start(QWEN, text(1000, opening)) for opening in "ab"]
    server.settle()

    again = [server.start(QWEN, text(1000, opening)) for opening in "ba"]
    server.settle()

    assert [call.speech.cached for call in both if call.speech] == [0, 0]
    assert [call.speech.cached for call in again if call.speech] == [999, 999]


def test_swap_costs_what_the_profile_says() -> None:
    server = Ollama("swap_s=3.5")
    server.run(QWEN, text(1, "warm"))

    call = server.start(GEMMA, text(1200))
    server.settle()

    assert call.granted - call.arrived == pytest.approx(3.5)
    assert call.ended - call.granted == pytest.approx(1.2 + 150 / 47)


@pytest.mark.parametrize("option", ["num_ctx", "num_batch", "num_gpu", "num_thread"])
def test_changed_option_reloads_and_empties_the_slot(option: str) -> None:
    server = Ollama()
    server.run(QWEN, text(1200))

    took = server.run(QWEN, text(1200), **{option: 3000})

    assert took == pytest.approx(2.3 + 1 + 150 / 57)
    assert (server.counts.total["loads"], server.counts.total["reloads"]) == (2, 1)


@pytest.mark.parametrize(("slots", "loads"), [(1, 2), (4, 6)])
def test_more_slots_push_the_second_model_out(slots: int, loads: int) -> None:
    server = Ollama(f"slots={slots}", profile="rtx4080")

    for model in (QWEN, GEMMA) * 3:
        server.run(model, text(100), num_ctx=8192)

    assert server.counts.total["loads"] == loads


def test_grouped_calls_swap_once() -> None:
    server = Ollama()
    calls = [server.start(QWEN, text(100, f"{number}")) for number in range(10)]
    server.settle()
    calls += [server.start(GEMMA, text(100, f"{number}")) for number in range(10)]
    server.settle()

    assert server.counts.total["loads"] == 2
    assert server.counts.level("models_wanted").most == 1
    assert all(call.over for call in calls)


def vllm(kv_tokens: int, in_flight: int, jobs: int) -> tuple[float, float]:
    """The cached share and the seconds of so many three-turn jobs, so many at a time."""
    sim = Simulation()
    profile = load_profile("h100", [f"kv_tokens={kv_tokens}"])
    model = VllmModel(sim, profile, Counts(sim))
    numbers = iter(range(jobs))

    def turn(number: int, step: int) -> None:
        if step == 3:
            number, step = next(numbers, -1), 0
        if number >= 0:
            _, prompt, tokens = debate(number)[step]
            model.submit(VllmCall(prompt=prompt, reply_tokens=tokens, done=lambda: turn(number, step + 1)))

    for _ in range(in_flight):
        turn(-1, 3)
    sim.run()
    return model.counts.total["cached_tokens"] / model.counts.total["prompt_tokens"], sim.now


def test_cache_falls_off_a_cliff() -> None:
    kv_tokens, footprint = 20_000, RECORD + 2 * 75 + 2 * STATEMENT + 80
    most = math.floor((kv_tokens - RULES) / footprint)

    shares = {part: vllm(kv_tokens, round(part * most), 120)[0] for part in (0.25, 0.75, 2.5)}

    assert shares[0.25] == pytest.approx(shares[0.75], abs=0.03)
    assert shares[0.75] > 0.70
    assert shares[2.5] < 0.62


def test_running_requests_hold_their_blocks() -> None:
    sim = Simulation()
    model = VllmModel(sim, load_profile("h100", ["kv_tokens=4000", "max_model_len=2000"]), Counts(sim))
    ends: list[float] = []

    for opening in "abc":
        model.submit(VllmCall(prompt=text(1600, opening), reply_tokens=160, done=lambda: ends.append(sim.now)))
    running, waiting, usage = len(model.running), model.waiting, model.cache.usage
    sim.run()

    assert (running, waiting, usage) == (2, 1, 220 / 250)
    assert (len(ends), ends[0] == ends[1], ends[2] > ends[1], model.cache.usage) == (3, True, True, 0)


async def test_scaled_clock_keeps_time() -> None:
    sim = Simulation()
    late: list[float] = []
    pace = Pace(sim, scale=0.01)
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    began = loop.time()

    def tick(left: int) -> None:
        late.append(loop.time() - began - sim.now * 0.01)
        sim.after(0.1, lambda: tick(left - 1)) if left else done.set()

    sim.after(0.1, lambda: tick(999))
    pace.start()
    await done.wait()

    # Neither early nor later and later: a busy machine may hold up some events, but never all of the last fifty.
    assert (len(late), min(late) > -0.001, min(late[-50:]) < 0.02) == (1000, True, True)


async def test_clock_stands_still_after_a_reply() -> None:
    sim = Simulation()
    pace = Pace(sim, scale=0.0001, grace_s=0.05)
    pace.start()

    for _ in range(3):
        await pace.outcome(lambda end: sim.after(10.0, end).cancel)
        # What the client does meanwhile would last 200 simulated seconds.
        await asyncio.sleep(0.02)
    with pace.present():
        spent = sim.now

    assert spent == pytest.approx(30.0, abs=5)


def test_settings_are_found_by_their_last_name() -> None:
    profile = load_profile("laptop", ["slots=4", "models.1.decode=20", "gpu.vram_gib=8", "jitter=0.2"])

    assert (profile.ollama.slots, profile.models[1].decode) == (4, 20)
    assert (profile.gpu.vram_gib, profile.replies.jitter) == (8, 0.2)


@pytest.mark.parametrize("change", ["slots", "nothing=1", "tokens=many", "slots=0"])
def test_wrong_settings_are_refused(change: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_profile("laptop", [change])


@pytest.mark.parametrize("name", ["laptop", "rtx4080", "h100", "four_gpus"])
def test_shipped_profiles_are_valid(name: str) -> None:
    assert isinstance(load_profile(name), Profile)
