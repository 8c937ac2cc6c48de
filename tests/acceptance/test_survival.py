"""Killed, interrupted or run twice at once: nothing that was said is lost, and nothing is said twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.acceptance.places import Place, chats, ollama, spoken

CAST = {"advocate": "qwen2.5:7b", "critic": "gemma2:9b", "judge": "qwen2.5:7b"}
MODELS = ("qwen2.5:7b", "gemma2:9b")
WORKERS = 4
TASKS = 200
KILLS = 12
LEASED = "SELECT count(*) FROM tasks WHERE status = 'leased'"


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def prepared(place: Place, url: str, tasks: int) -> None:
    place.cards(CAST)
    place.settings(f'max_workers = {WORKERS}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n')
    place.run("submit", place.records(tasks), "--debate", "posting")


@pytest.fixture
def slow(place: Place, calls: Path) -> Iterator[Place]:
    """200 tasks on a server that takes its time over each turn."""
    with ollama(calls, MODELS, slots=WORKERS, latency=0.2, num_ctx=8192) as url:
        prepared(place, url, TASKS)
        yield place


@pytest.mark.slow
def test_kills_lose_and_double_nothing(slow: Place, calls: Path) -> None:
    chance, turns, kills = random.Random(20261121), [0], [0.0]

    for _ in range(KILLS):
        running = slow.start("process-pending")
        slow.until_spoken(turns[-1] + 1)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=chance.uniform(0.0, 0.8))
        running.kill()
        running.communicate()
        kills.append(time.monotonic())
        turns.append(slow.rows("SELECT count(*) FROM turns")[0][0])
    slow.run("process-pending")
    repeated = repeats(calls, kills, turns)
    print(f"{KILLS} kills, {TASKS} tasks, {WORKERS} workers: calls repeated after each kill {repeated}")

    assert slow.rows("SELECT count(*), count(DISTINCT task_id) FROM verdicts") == [(TASKS, TASKS)]
    assert slow.rows("SELECT status, count(*) FROM tasks GROUP BY status") == [("done", TASKS)]
    assert slow.rows("SELECT count(*) FROM turns") == [(3 * TASKS,)]
    assert len(spoken(calls)) == 3 * TASKS
    assert max(repeated) <= WORKERS
    assert sum(spoken(calls).values()) == 3 * TASKS + sum(repeated)


def repeats(calls: Path, kills: list[float], turns: list[int]) -> list[int]:
    """Calls begun before each kill whose turn was not on disk when it came: these are made again."""
    begun = [call["started"] for call in chats(calls)]
    return [
        sum(before < start <= kill for start in begun) - (there - there_before)
        for before, kill, there_before, there in zip(kills, kills[1:], turns, turns[1:], strict=False)
    ]


def test_two_runs_share_the_work(place: Place, calls: Path) -> None:
    with ollama(calls, MODELS, slots=8, latency=0.02, num_ctx=8192) as url:
        prepared(place, url, 60)

        both = [place.start("process-pending", "--json") for _ in range(2)]
        said = [running.communicate(timeout=120) for running in both]

    assert [running.returncode for running in both] == [0, 0], said
    assert not any("locked" in err for _, err in said)
    assert place.rows("SELECT count(*) FROM verdicts") == [(60,)]
    assert set(spoken(calls).values()) == {1}
    assert len(place.rows("SELECT DISTINCT run_id FROM turns")) == 2


def test_interrupt_finishes_turns_in_flight(slow: Place, calls: Path) -> None:
    running = slow.start("process-pending")
    slow.until_spoken(1)

    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=20)

    assert running.returncode == 130
    assert "the same command goes on" in out
    assert slow.rows("SELECT count(*) FROM tasks WHERE status = 'leased'") == [(0,)]
    assert slow.rows("SELECT status FROM runs") == [("interrupted",)]
    assert slow.rows("SELECT count(*) FROM turns")[0][0] == len(chats(calls)) > 0
    assert slow.rows("SELECT count(*) FROM attempts") == [(0,)]


def test_second_interrupt_stops_now(place: Place, calls: Path) -> None:
    with ollama(calls, MODELS, slots=WORKERS, latency=20, num_ctx=8192) as url:
        prepared(place, url, 8)
        running = place.start("process-pending")
        place.until(LEASED)
        time.sleep(2.0)  # a task is claimed a moment before its call is sent

        running.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=0.5)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=10)

    assert running.returncode == 130
    assert place.rows("SELECT status, attempts, count(*) FROM tasks GROUP BY 1, 2") == [("pending", 0, 8)]


def test_first_submits_at_once_all_succeed(place: Place) -> None:
    records = place.records(30)

    started = [place.start("submit", records, "--debate", "posting") for _ in range(3)]
    said = [running.communicate(timeout=60) for running in started]

    assert [running.returncode for running in started] == [0, 0, 0], said
    assert place.rows("SELECT count(*) FROM tasks") == [(30,)]


@pytest.mark.parametrize("seconds", [0.3, 0.4, 0.5, 0.6, 0.7])
def test_killed_first_submit_can_be_repeated(place: Place, seconds: float) -> None:
    records = place.records(30)
    running = place.start("submit", records, "--debate", "posting")
    with suppress(subprocess.TimeoutExpired):
        running.wait(timeout=seconds)
    running.kill()
    running.communicate()

    place.run("submit", records, "--debate", "posting")

    assert place.rows("SELECT count(*) FROM tasks") == [(30,)]


def freeze(running: subprocess.Popen[str], place: Place) -> None:
    """Stop a run between two of its transactions: in one of them it would keep everybody else from writing."""
    while True:
        running.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED)
        with closing(sqlite3.connect(place.home / "orchestrate.db", timeout=0.5, isolation_level=None)) as rows:
            try:
                rows.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                running.send_signal(signal.SIGCONT)
            else:
                rows.execute("ROLLBACK")
                return


def test_frozen_run_is_overtaken_and_refused(place: Place, calls: Path) -> None:
    with ollama(calls, MODELS, slots=8, latency=0.1, num_ctx=8192) as url:
        prepared(place, url, 40)
        frozen = place.start("process-pending", "--json", ORCHESTRATE_LEASE_S="1")
        place.until_spoken(1)
        freeze(frozen, place)

        place.run("process-pending", ORCHESTRATE_LEASE_S="1")
        frozen.send_signal(signal.SIGCONT)
        out, _ = frozen.communicate(timeout=60)

    assert json.loads(out)["lost"] <= WORKERS
    assert place.rows("SELECT status, count(*) FROM tasks GROUP BY 1") == [("done", 40)]
    assert place.rows("SELECT count(*), count(DISTINCT task_id) FROM verdicts") == [(40, 40)]
    assert place.rows("SELECT count(*) FROM turns") == [(120,)]
    assert sum(spoken(calls).values()) <= 120 + WORKERS


def test_dry_run_keeps_off_a_run(place: Place, calls: Path) -> None:
    with ollama(calls, MODELS, slots=WORKERS, latency=0.3, num_ctx=8192) as url:
        prepared(place, url, 12)
        running = place.start("process-pending")
        place.until(LEASED)

        refused = place.run("process-pending", "--dry-run", code=1)
        running.communicate(timeout=60)

    assert "a run is speaking" in refused
    assert running.returncode == 0
    assert sum(spoken(calls).values()) == 36
