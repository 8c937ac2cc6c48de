"""The window against servers in simulated time: told no cache size and no slots, it comes near the best limit."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.closed_loop import ClosedLoop, Load, Outcome
from benchmarks.model_server import load_profile
from orchestrator.scheduler.window import Window


def run(limit: Window | int, *changes: str, profile: str = "h100", jobs: int = 1000, **load: Any) -> Outcome:
    """So many debates, whose records differ by a factor of five and whose replies by a half."""
    served = load_profile(profile, ["jitter=0.2", *changes])
    return ClosedLoop(served, Load(**{"jobs": jobs, "spread": 2.2, **load}), limit).run()


def found(*changes: str, first: int = 16, most: int = 512, slots: int | None = None, **load: Any) -> Outcome:
    """What the window makes of it."""
    return run(Window(first=first, most=most, slots=slots), *changes, **load)


@pytest.mark.parametrize(("kv_tokens", "best"), [(60_000, 49), (100_000, 78), (400_000, 256)])
def test_unknown_cache_is_used_to_the_full(kv_tokens: int, best: int) -> None:
    fixed = run(best, f"kv_tokens={kv_tokens}")

    outcome = found(f"kv_tokens={kv_tokens}")

    # Half more than the best limit costs a factor of 1.5 to 1.9, a third of it one of 1.3.
    assert outcome.seconds < 1.15 * fixed.seconds
    assert outcome.settled in range(round(0.75 * best), round(1.25 * best))
    assert sum(outcome.waited) / len(outcome.waited) < 1


def test_failed_calls_change_little() -> None:
    fixed = run(49, "kv_tokens=60000", "fail_share=0.02")

    outcome = found("kv_tokens=60000", "fail_share=0.02")

    assert outcome.seconds < 1.15 * fixed.seconds


def test_cache_alone_tells_where_metrics_are_shut() -> None:
    fixed = run(49, "kv_tokens=60000")

    outcome = found("kv_tokens=60000", polled=False)

    assert outcome.seconds < 1.15 * fixed.seconds


def test_server_without_a_cache_is_not_starved() -> None:
    fixed = run(80, "kv_tokens=100000", "prefix_caching=false", jobs=250)

    outcome = found("kv_tokens=100000", "prefix_caching=false", jobs=250)

    assert outcome.seconds < 1.15 * fixed.seconds


def test_throughput_alone_finds_a_fair_limit() -> None:
    fixed = run(49, "kv_tokens=60000")

    outcome = found("kv_tokens=60000", polled=False, told="missing")

    assert outcome.seconds < 1.3 * fixed.seconds
    assert outcome.settled in range(25, 65)


def test_limit_far_too_high_comes_down() -> None:
    fixed = run(17, "kv_tokens=20000")

    outcome = found("kv_tokens=20000", first=64)

    assert outcome.settled in range(12, 21)
    assert outcome.seconds < 1.2 * fixed.seconds


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_ollama_slots_are_found_by_queueing(slots: int) -> None:
    server: dict[str, Any] = {"profile": "laptop", "jobs": 200}
    fixed = run(slots, f"slots={slots}", "vram_gib=40", **server)

    outcome = found(f"slots={slots}", "vram_gib=40", first=2, **server)

    assert outcome.settled in (slots, slots + 1)
    assert outcome.seconds < 1.1 * fixed.seconds


def test_memory_that_runs_out_bounds_the_limit() -> None:
    fixed = run(20, "oom_streams=20")

    outcome = found("oom_streams=20")

    assert outcome.seconds < 1.2 * fixed.seconds
    assert max(limit for _, limit in outcome.path) <= 22


def test_found_limit_holds_still() -> None:
    outcome = found("kv_tokens=400000", jobs=2000)
    path = [limit for at, limit in outcome.path if at > outcome.seconds / 2]

    assert len(path) <= 4
    assert max(path, default=256) - min(path, default=256) <= 0.05 * 256
