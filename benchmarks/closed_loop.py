"""How many turns in flight are best, and how near to that the scheduler's window comes by itself, in simulated time.

The model of a server (`benchmarks/model_server`) is driven directly, without HTTP and without a clock, by debates of
three turns, depth first. For each size of the KV cache the table gives the best fixed limit of a sweep and its time,
and the limit that `orchestrator.scheduler.window.Window` settles at, which is told nothing of the cache, with its time.

    python -m benchmarks.closed_loop [--jobs 2000] [--jitter 0.2] [--spread 2.2] [--json FILE]

With `--jitter 0 --spread 1` all debates are alike and go in step, which flatters a fixed limit: all of them read
together and then write together, for ever.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.model_server.counts import Counts
from benchmarks.model_server.events import Simulation
from benchmarks.model_server.ollama_model import Call as OllamaCall
from benchmarks.model_server.ollama_model import OllamaModel
from benchmarks.model_server.profile import Profile, load_profile
from benchmarks.model_server.prompts import Prompt
from benchmarks.model_server.speech import DIED, OUT_OF_MEMORY, Speech
from benchmarks.model_server.vllm_model import Call as VllmCall
from benchmarks.model_server.vllm_model import VllmModel
from orchestrator.measures import Pressure
from orchestrator.scheduler.window import Heard, Window
from tests.servers.ollama_runners import Settings

# Tokens: what all debates share, a record, a role's instruction, the replies (scheduling.md).
SHARED, RECORD, ROLE, REPLIES = 800, 600, 60, (150, 150, 80)
POLL_S = 1.0
RETRY_S = 2.0
CACHES = (60_000, 100_000, 400_000)
FIRST, MOST = 16, 512
PARTS = (0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5)  # of C*, for the sweep

Told: TypeAlias = Literal["true", "zero", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained(Prompt):
    """A prompt known by its job alone: `common` tokens begin every prompt, the rest only those of one job.

    It says what a rendered prompt would, and costs a tenth of hashing one.
    """

    job: int
    common: int

    def shared(self, other: Prompt) -> int:
        """How many tokens both begin with."""
        same = isinstance(other, Chained) and other.job == self.job
        return min(self.tokens, other.tokens) if same else self.common

    def blocks(self, size: int, salt: str = "") -> list[int]:
        """A number for every full block."""
        common, base = self.common // size, (self.job + 1) << 16
        return [*range(common), *range(base + common, base + self.tokens // size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is done, and what the client is told of it.

    Attributes:
        spread: records are from 1 / spread to spread times `RECORD` tokens long, evenly on a logarithmic scale.
        gap_s: between a reply and the next request of the same debate.
        told: what becomes of the server's count of cached tokens.
        polled: whether `/metrics` can be read.
    """

    jobs: int
    spread: float = 1.0
    gap_s: float = 0.02
    told: Told = "true"
    polled: bool = True
    seed: int = 1


@dataclass(slots=True, kw_only=True)
class Job:
    """A debate under way: its record's tokens, the step that comes next, the last prompt's tokens in this visit."""

    number: int
    record: int
    step: int = 0
    said: int = 0
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A call as its client saw it."""

    failure: str
    speech: Speech
    queued_s: float | None
    total_s: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run. `path` is the limit after each change, `waited` the server's queue at each poll."""

    seconds: float = 0.0
    cached: float = 0.0
    settled: int = 0
    why: str = ""
    path: list[tuple[float, int]] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)


class Vllm:
    """vLLM's model of time."""

    def __init__(self, sim: Simulation, profile: Profile, counts: Counts) -> None:
        self._sim = sim
        self._model = VllmModel(sim, profile, counts)

    def send(self, prompt: Prompt, tokens: int, failure: str, done: Callable[[Finished], None]) -> None:
        """One call."""
        began = self._sim.now

        def end() -> None:
            assert call.speech is not None
            passed = self._sim.now - began
            done(Finished(failure=call.failure, speech=call.speech, queued_s=None, total_s=passed))

        call = VllmCall(prompt=prompt, reply_tokens=tokens, done=end, failure=failure)
        self._model.submit(call)

    def pressure(self) -> Pressure:
        """What its metrics say."""
        return Pressure(running=len(self._model.running), waiting=self._model.waiting)


class Ollama:
    """Ollama's model of time, with the profile's first model."""

    def __init__(self, sim: Simulation, profile: Profile, counts: Counts) -> None:
        self._sim = sim
        self._model = OllamaModel(sim, profile, counts)

    def send(self, prompt: Prompt, tokens: int, failure: str, done: Callable[[Finished], None]) -> None:
        """One call."""

        def end() -> None:
            speech = call.speech
            assert speech is not None
            queued = speech.began - call.granted
            done(Finished(failure=call.failure, speech=speech, queued_s=queued, total_s=self._sim.now - call.arrived))

        call = OllamaCall(
            model=self._model.profile.models[0],
            settings=Settings(num_ctx=4096),
            keep_s=86_400.0,
            done=end,
            prompt=prompt,
            reply_tokens=tokens,
            failure=failure,
        )
        self._model.submit(call)

    def pressure(self) -> None:
        """It has no metrics."""


class ClosedLoop:
    """One run: as many debates in flight as the limit allows, until all are through."""

    def __init__(self, profile: Profile, load: Load, limit: Window | int) -> None:
        self.outcome = Outcome()
        self.sim = Simulation()
        self._counts = Counts(self.sim)
        self._replies = profile.replies
        kind = Vllm if profile.kind == "vllm" else Ollama
        self._server: Vllm | Ollama = kind(self.sim, profile, self._counts)
        self._load = load
        self._limit = limit
        self._chance = random.Random(load.seed)
        records = [round(RECORD * load.spread ** self._chance.uniform(-1, 1)) for _ in range(load.jobs)]
        self._jobs = deque(Job(number=number, record=record) for number, record in enumerate(records))
        self._left = load.jobs
        self._in_flight = 0

    def run(self) -> Outcome:
        """Let every job come to its end."""
        self._fill()
        self._poll()
        while self._left:
            self.sim.step()
        total, outcome = self._counts.total, self.outcome
        outcome.seconds = self.sim.now
        outcome.cached, outcome.settled = total["cached_tokens"] / total["prompt_tokens"], self._most()
        outcome.why = self._limit.why if isinstance(self._limit, Window) else ""
        return outcome

    def _most(self) -> int:
        return self._limit.limit if isinstance(self._limit, Window) else self._limit

    def _seats(self) -> int:
        return self._limit.seats if isinstance(self._limit, Window) else self._limit

    def _fill(self) -> None:
        if not self.outcome.path or self.outcome.path[-1][1] != self._most():
            self.outcome.path.append((self.sim.now, self._most()))
        while self._jobs and self._in_flight < self._seats():
            self._in_flight += 1
            self._turn(self._jobs.popleft())

    def _turn(self, job: Job) -> None:
        tokens = SHARED + job.record + ROLE * (job.step + 1) + job.said
        prompt = Chained(text="", tokens=tokens, job=job.number, common=SHARED)
        jitter = self._replies.jitter * self._chance.uniform(-1, 1)
        reply = max(2, round(REPLIES[job.step] * (1 + jitter)))
        failure = DIED if self._chance.random() < self._replies.fail_share else ""
        self._server.send(prompt, reply // 2 if failure else reply, failure, lambda end: self._ended(job, end))

    def _ended(self, job: Job, end: Finished) -> None:
        if end.failure:
            self._failed(job, end.failure)
            return
        self._hear(job, end)
        job.said += end.speech.reply_tokens
        job.last = end.speech.prompt.tokens
        job.step += 1
        if job.step == len(REPLIES):
            self._in_flight -= 1
            self._left -= 1
        else:
            self.sim.after(self._load.gap_s, lambda: self._turn(job))
        self.sim.after(self._load.gap_s, self._fill)

    def _failed(self, job: Job, failure: str) -> None:
        if failure == OUT_OF_MEMORY and isinstance(self._limit, Window):
            self._limit.refused(beside=self._in_flight - 1, now=self.sim.now)
        job.last = None
        self._in_flight -= 1
        self._jobs.append(job)
        self.sim.after(RETRY_S, self._fill)

    def _hear(self, job: Job, end: Finished) -> None:
        if not isinstance(self._limit, Window):
            return
        told = self._load.told if end.queued_s is None else "missing"
        cached = {"true": end.speech.cached, "zero": 0, "missing": None}[told]
        turn = Heard(
            expected=job.last,
            prompt_tokens=end.speech.prompt.tokens,
            cached_tokens=cached,
            reply_tokens=end.speech.reply_tokens,
            queued_s=end.queued_s,
            total_s=end.total_s,
        )
        self._limit.heard(turn, in_flight=self._in_flight, now=self.sim.now)

    def _poll(self) -> None:
        pressure = self._server.pressure()
        if pressure is not None and self._load.polled:
            self.outcome.waited.append(pressure.waiting)
            if isinstance(self._limit, Window):
                self._limit.pressed(pressure, now=self.sim.now)
                self._fill()
        if self._left:
            self.sim.after(POLL_S, self._poll)


def measure(profile: Profile, load: Load) -> dict[str, object]:
    """The points of one size of the cache, and what the window makes of it; prints its row of the table."""
    cliff = (profile.vllm.kv_tokens - SHARED) / (RECORD + len(REPLIES) * ROLE + sum(REPLIES[:-1]))
    limits = sorted({round(part * cliff) for part in PARTS} | {profile.vllm.max_num_seqs})
    fixed = {limit: ClosedLoop(profile, load, limit).run() for limit in limits}
    best = min(fixed, key=lambda limit: fixed[limit].seconds)
    found = ClosedLoop(profile, load, Window(first=FIRST, most=MOST)).run()
    ratio = found.seconds / fixed[best].seconds
    print(
        f"| {profile.vllm.kv_tokens:,} | {cliff:.0f} | {best} | {fixed[best].seconds:.0f} | "
        f"{found.seconds:.0f} | {ratio:.3f} | {found.settled} | {found.why} |",
        flush=True,
    )
    points = [
        {"limit": limit, "seconds": each.seconds, "jobs_per_s": load.jobs / each.seconds, "cached": each.cached}
        for limit, each in fixed.items()
    ]
    known = {"kv_tokens": profile.vllm.kv_tokens, "jobs": load.jobs, "cliff": cliff, "best": best}
    window = {"seconds": found.seconds, "ratio": ratio, "settled": found.settled, "why": found.why, "path": found.path}
    return {**known, "points": points, "window": window}


def main() -> None:
    """Measure, print the table, and write the points if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--jitter", type=float, default=0.2)
    parser.add_argument("--spread", type=float, default=2.2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load = Load(jobs=options.jobs, spread=options.spread)
    print("| K, tokens | C* | best fixed limit | its time, s | window's time, s | ratio | settled at | because |")
    print("|--:|--:|--:|--:|--:|--:|--:|---|")
    measured = [
        measure(load_profile("h100", [f"kv_tokens={tokens}", f"jitter={options.jitter}"]), load) for tokens in CACHES
    ]
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
