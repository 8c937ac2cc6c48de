"""Our own time per debate: the whole way against a server that answers at once, beside LangGraph with stock clients.

The whole way is claim, graph, LangChain client, validation and durable commit (synchronous=FULL). Beside it a graph of
three nodes that call ChatOllama or ChatOpenAI with the same prompts, and store nothing. The server has a core of its
own; the client is held to one other. Rounds alternate, and the median of each is taken.

    python -m benchmarks.whole_way [--debates 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.comparison.contenders import Kind, Scene, langgraph
from benchmarks.comparison.workload import records
from benchmarks.instant_server import MODEL
from orchestrator.app.clock import SystemClock
from orchestrator.app.lanes import open_lane
from orchestrator.app.planning import outlook
from orchestrator.app.running import run_settings, settle
from orchestrator.app.submitting import SubmitRequest, submit
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.debate.graph import untraced
from orchestrator.domain import Role
from orchestrator.scheduler.run import run

IN_FLIGHT = 256


@contextlib.contextmanager
def instant_server() -> Iterator[int]:
    """The server in a process on the last core; gives its port."""
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.instant_server"], stdout=subprocess.PIPE, text=True)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(server.pid, {cores[-1]})
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


def workplace(folder: Path, backend: Kind, port: int) -> Workplace:
    """A folder whose cards name the server's model."""
    (folder / "actors").mkdir(parents=True)
    for role in Role:
        card = f'role = "{role.value}"\nmodel = "{MODEL}"\nprompt = "{role.value}.md"\n'
        (folder / "actors" / f"{role.value}.toml").write_text(card)
    path = {"ollama": "", "vllm": "/v1"}[backend]
    table = f'max_workers = {IN_FLIGHT}\n[endpoints.e]\nbackend = "{backend}"\nurl = "http://127.0.0.1:{port}{path}"\n'
    (folder / "orchestrate.toml").write_text(table)
    return open_workplace(folder, {})


def sample(folder: Path, debates: int) -> Path:
    """The shipped sample, repeated under new keys."""
    import json

    lines = (Path(__file__).parent.parent / "prompts/posting/sample.jsonl").read_text().splitlines()
    path = folder / "records.jsonl"
    with path.open("w") as out:
        for number in range(debates):
            record = json.loads(lines[number % len(lines)]) | {"id": str(number)}
            out.write(json.dumps(record) + "\n")
    return path


async def ours(place: Workplace) -> float:
    """Debates a second, the whole way."""
    debates = place.debates("posting")
    told = await asyncio.to_thread(outlook, place, debates)
    lanes = [open_lane(place.config, working) for working in told.workings]
    settle()
    with place.store() as store, untraced():
        started = time.perf_counter()
        end = await run(store, SystemClock(), run_settings(place, debates, lanes, ""))
        seconds = time.perf_counter() - started
    for lane in lanes:
        await lane.endpoint.close()
    return end.tally.done / seconds


def graph(backend: Kind, port: int, debates: int) -> float:
    """Debates a second by LangGraph's `.abatch` and the stock clients, nothing stored."""
    with tempfile.TemporaryDirectory() as folder:
        debate = workplace(Path(folder) / "w", backend, port).debate("posting")
    scene = Scene(
        kind=backend,
        urls=(f"http://127.0.0.1:{port}",),
        debate=debate,
        models=dict.fromkeys(Role, MODEL),
        records=records(debates),
        slots=1,
        holds=1,
    )
    started = time.perf_counter()
    return langgraph(IN_FLIGHT)(scene).done / (time.perf_counter() - started)


def measure(backend: Kind, port: int, debates: int, rounds: int) -> tuple[float, float]:
    """Median debates a second of ours and of LangGraph with stock clients, measured in turn."""
    both: list[tuple[float, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            place = workplace(Path(folder) / "w", backend, port)
            submit(place, SubmitRequest(file=sample(Path(folder), debates), debate="posting"))
            whole = asyncio.run(ours(place))
        both.append((whole, graph(backend, port, debates // 3)))
    return statistics.median(us for us, _ in both), statistics.median(them for _, them in both)


def main() -> None:
    """Measure both backends and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--debates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    print("| backend | the whole way, debates/s | LangGraph with stock clients, nothing stored, debates/s | ratio |")
    print("|---|--:|--:|--:|")
    backends: tuple[Kind, ...] = ("ollama", "vllm")
    for backend in backends:
        with instant_server() as port:
            us, them = measure(backend, port, options.debates, options.rounds)
        print(f"| {backend} | {us:.0f} | {them:.0f} | {us / them:.1f} |", flush=True)


if __name__ == "__main__":
    main()
