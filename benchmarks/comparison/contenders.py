"""What people write by hand, each as a function of a scene: how many debates it finished.

LangGraph speaks by LangChain's stock clients. The others speak by the cheapest clients there are (`http.client`,
aiohttp), for it is their order that is measured: a stock client takes milliseconds of a scaled clock's time for a call.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Literal, TypedDict

import aiohttp
from langgraph.graph import END, START, StateGraph

from benchmarks.comparison.stock import Speakers, body, read, stock
from benchmarks.comparison.workload import ORDER, Dialogue, Layout
from orchestrator.cast import Debate
from orchestrator.debate.graph import untraced
from orchestrator.domain import Payload, Role

Kind = Literal["ollama", "vllm"]
Route = Callable[[int], str]
Loop = Callable[["Plain", list[Dialogue]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Servers that answer, the cast and the records; `slots` and `holds` are what a user of an Ollama knows of it."""

    kind: Kind
    urls: tuple[str, ...]
    debate: Debate
    models: Mapping[Role, str]
    records: Sequence[Payload]
    slots: int
    holds: int

    def dialogues(self, layout: Layout = Layout.APPEND) -> list[Dialogue]:
        """A fresh debate of every record."""
        return [Dialogue(self.debate, payload, layout) for payload in self.records]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run; `first_s` and `in_flight` are told by ours alone.

    Attributes:
        first_s: simulated seconds until the first verdict.
        in_flight: turns in flight where our limit settled: the median over the second half of the turns.
        notes: what a reader should know.
    """

    done: int
    first_s: float | None = None
    in_flight: float | None = None
    notes: tuple[str, ...] = field(default=())


def thread_pool(workers: int) -> Callable[[Scene], Outcome]:
    """Whole debates in threads, one call after the other."""

    def run(scene: Scene) -> Outcome:
        dialogues = scene.dialogues()

        def debate(dialogue: Dialogue) -> None:
            with closing(HTTPConnection(scene.urls[0].removeprefix("http://"))) as connection:
                for role in ORDER:
                    path, asked = body(scene.kind, scene.debate, role, dialogue.messages(role))
                    connection.request("POST", path, json.dumps(asked), {"Content-Type": "application/json"})
                    dialogue.hear(role, read(scene.kind, json.load(connection.getresponse())))

        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(debate, dialogues):
                pass
        return _finished(dialogues)

    return run


def depth_first(limit: int, layout: Layout = Layout.APPEND) -> Callable[[Scene], Outcome]:
    """An asyncio loop with a semaphore over whole debates; a debate stays on one server."""

    async def loop(plain: Plain, dialogues: list[Dialogue]) -> None:
        room = asyncio.Semaphore(limit)

        async def debate(number: int, dialogue: Dialogue) -> None:
            async with room:
                for role in ORDER:
                    await plain.ask(dialogue, role, number)

        await asyncio.gather(*(debate(number, dialogue) for number, dialogue in enumerate(dialogues)))

    return _looped(loop, layout)


def role_by_role(limit: int) -> Callable[[Scene], Outcome]:
    """All advocates, then all critics, then all judges."""

    async def loop(plain: Plain, dialogues: list[Dialogue]) -> None:
        room = asyncio.Semaphore(limit)

        async def turn(number: int, dialogue: Dialogue, role: Role) -> None:
            async with room:
                await plain.ask(dialogue, role, number)

        for role in ORDER:
            await asyncio.gather(*(turn(number, dialogue, role) for number, dialogue in enumerate(dialogues)))

    return _looped(loop)


def random_server(limit: int, seed: int = 1) -> Callable[[Scene], Outcome]:
    """As `depth_first`, but every turn goes to a server drawn by chance, as behind a balancer that knows no debates."""

    async def loop(plain: Plain, dialogues: list[Dialogue]) -> None:
        room, chance = asyncio.Semaphore(limit), random.Random(seed)

        async def debate(dialogue: Dialogue) -> None:
            async with room:
                for role in ORDER:
                    await plain.ask(dialogue, role, chance.randrange(len(plain.urls)))

        await asyncio.gather(*(debate(dialogue) for dialogue in dialogues))

    return _looped(loop)


class _State(TypedDict):
    dialogue: Dialogue


def langgraph(limit: int) -> Callable[[Scene], Outcome]:
    """A graph of three nodes with the stock clients, `.abatch` over all records."""

    def run(scene: Scene) -> Outcome:
        dialogues = scene.dialogues()

        async def batch() -> None:
            states = [{"dialogue": dialogue} for dialogue in dialogues]
            async with stock(scene.kind, scene.urls[0], scene.debate) as speakers:
                with untraced():
                    await _graph(speakers).abatch(states, config={"max_concurrency": limit})

        asyncio.run(batch())
        return _finished(dialogues)

    return run


def _graph(speakers: Speakers) -> Any:
    graph = StateGraph(_State)
    for role in ORDER:
        graph.add_node(role.value, _node(speakers, role))
    for one, other in zip((START, *ORDER), (*ORDER, END), strict=True):
        graph.add_edge(one, other)
    return graph.compile()


def _node(speakers: Speakers, role: Role) -> Any:
    async def speak(state: _State) -> _State:
        message = await speakers[role].ainvoke(state["dialogue"].messages(role))
        state["dialogue"].hear(role, str(message.content))
        return state

    return speak


class Plain:
    """Turns over aiohttp, with no library between."""

    def __init__(self, scene: Scene, session: aiohttp.ClientSession) -> None:
        self.urls = scene.urls
        self._scene = scene
        self._session = session

    async def ask(self, dialogue: Dialogue, role: Role, number: int) -> None:
        """Let a role speak, on the server of that number."""
        url = self.urls[number % len(self.urls)]
        path, asked = body(self._scene.kind, self._scene.debate, role, dialogue.messages(role))
        async with self._session.post(url + path, json=asked) as response:
            response.raise_for_status()
            dialogue.hear(role, read(self._scene.kind, await response.json()))


def _looped(loop: Loop, layout: Layout = Layout.APPEND) -> Callable[[Scene], Outcome]:
    def run(scene: Scene) -> Outcome:
        dialogues = scene.dialogues(layout)

        async def speak() -> None:
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                await loop(Plain(scene, session), dialogues)

        asyncio.run(speak())
        return _finished(dialogues)

    return run


def _finished(dialogues: Sequence[Dialogue]) -> Outcome:
    return Outcome(done=sum(len(dialogue.turns) == len(ORDER) for dialogue in dialogues))
