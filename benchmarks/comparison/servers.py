"""The model server as a program of its own, on a core of its own, with a bounded life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.model_server.profile import Profile

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How simulated time goes: `scale` real seconds a simulated one, and `grace_s` real seconds' rest after a reply."""

    scale: float
    grace_s: float = 0.0
    lifetime_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What all servers of a profile counted together; seconds are simulated, but `late_s` is real.

    `idle_share` is the part of the makespan in which a server had nothing to do: what the client took, or left to
    others.
    """

    makespan_s: float
    loads: int
    most_wanted: int
    calls: int
    replies: int
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int
    in_flight: float
    idle_share: float
    late_s: float

    @property
    def cached_share(self) -> float:
        """The part of all prompt tokens that came from a cache."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


@contextmanager
def running(profile: Profile, source: str, changes: Sequence[str], pacing: Pacing) -> Iterator[tuple[str, ...]]:
    """Start the servers of a profile, an address each, and end them."""
    command = [sys.executable, "-m", "benchmarks.model_server", "--profile", source]
    command += ["--scale", str(pacing.scale), "--grace", str(pacing.grace_s), "--lifetime", str(pacing.lifetime_s)]
    if changes:
        command += ["--set", *changes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(server.pid, {cores[-1]})
            assert server.stdout is not None
            yield tuple(server.stdout.readline().strip() for _ in range(profile.replicas))
        finally:
            server.terminate()


@contextmanager
def on_first_core() -> Iterator[None]:
    """Keep the client off the server's core."""
    cores = os.sched_getaffinity(0)
    yield_to = {min(cores)}
    try:
        if len(cores) > 1:
            os.sched_setaffinity(0, yield_to)
        yield
    finally:
        os.sched_setaffinity(0, cores)


def counted(urls: Sequence[str]) -> Counted:
    """Add up what the servers counted. They began at one moment, so the longest span is that of all."""
    stats = [fetch(f"{url}/_stats") for url in urls]
    total = {
        name: sum(each[name] for each in stats)
        for name in ("loads", "calls", "replies", "prompt_tokens", "cached_tokens", "reply_tokens")
    }
    makespan = max(each["span_s"] for each in stats)
    return Counted(
        makespan_s=makespan,
        idle_share=sum(_idle_s(each, makespan) for each in stats) / (len(stats) * makespan),
        most_wanted=max(each["most_models_wanted"] for each in stats),
        in_flight=sum(_in_flight(each) for each in stats),
        late_s=max(each["late_s"] for each in stats),
        **total,
    )


def timeline(url: str) -> list[Json]:
    """What happened on a server, in order."""
    events: list[Json] = fetch(f"{url}/_timeline")["events"]
    return events


def fetch(address: str) -> Json:
    """One of the server's own paths."""
    with urllib.request.urlopen(address, timeout=60) as response:  # noqa: S310 -- a loopback address that we started
        answer: Json = json.load(response)
    return answer


def _idle_s(stats: Json, makespan: float) -> float:
    """Seconds of the makespan: the waiting before the first call and after the last does not count."""
    idle: float = stats["idle_s"] - (stats["counted_s"] - stats["span_s"])
    span: float = stats["span_s"]
    return max(0.0, idle) + makespan - span


def _in_flight(stats: Json) -> float:
    """The mean while calls were in flight, not while the server waited for the first one or for its end."""
    level = stats["levels"].get("in_flight", {"mean": 0.0})
    return float(level["mean"]) * stats["counted_s"] / stats["span_s"] if stats["span_s"] else 0.0
