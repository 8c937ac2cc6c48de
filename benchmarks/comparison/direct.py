"""Jobs in flight against time, with a client that takes none: the engine of the server that keeps time, without HTTP.

Depth first, so many debates in flight, and no more than that: the curve with the cliff. The prompts are those that the
contenders send.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.comparison.workload import Asked
from benchmarks.model_server.counts import Counts
from benchmarks.model_server.events import Simulation
from benchmarks.model_server.profile import Profile
from benchmarks.model_server.vllm_model import Call, VllmModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a limit comes to; throughput in debates a simulated second."""

    in_flight: int
    seconds: float
    throughput: float
    cached_share: float


def sweep(profile: Profile, debates: Sequence[Sequence[Asked]], limits: Sequence[int]) -> list[Point]:
    """A point for each limit."""
    return [closed_loop(profile, debates, limit) for limit in limits]


def closed_loop(profile: Profile, debates: Sequence[Sequence[Asked]], limit: int) -> Point:
    """All debates on one vLLM, `limit` of them at a time."""
    sim = Simulation()
    counts = Counts(sim)
    model = VllmModel(sim, profile, counts)
    left = iter(debates)

    def speak(debate: Sequence[Asked], turn: int) -> None:
        if turn == len(debate):
            begin()
            return
        asked = debate[turn]
        model.submit(Call(prompt=asked.prompt, reply_tokens=asked.reply_tokens, done=lambda: speak(debate, turn + 1)))

    def begin() -> None:
        debate = next(left, None)
        if debate is not None:
            speak(debate, 0)

    for _ in range(limit):
        begin()
    sim.run()
    total = counts.total
    return Point(
        in_flight=limit,
        seconds=sim.now,
        throughput=len(debates) / sim.now,
        cached_share=total["cached_tokens"] / total["prompt_tokens"],
    )
