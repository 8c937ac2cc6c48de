"""Our own scheduler on the scene: the real run, with a real database, in simulated time."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import aiohttp

from benchmarks.comparison.clock import SimulatedClock
from benchmarks.comparison.contenders import Outcome, Scene
from benchmarks.comparison.servers import Pacing
from benchmarks.comparison.workload import DEBATE, workplace
from orchestrator.app.lanes import open_lane
from orchestrator.app.planning import Outlook, outlook
from orchestrator.app.running import run_settings, settle
from orchestrator.app.submitting import SubmitRequest, submit
from orchestrator.app.workplace import Workplace
from orchestrator.debate.graph import untraced
from orchestrator.domain import Claim, Payload, Role, Turn
from orchestrator.ports import Endpoint, Message, Reply, Request, Sampling
from orchestrator.scheduler.run import RunEnd, run
from orchestrator.scheduler.tally import Tally

Order = Literal["auto", "waves", "depth"]


def settings(scene: Scene, order: Order) -> str:
    """The orchestrate.toml of a comparison: what a user knows of the servers, and everything else left to itself."""
    lines = [f'order = "{order}"', 'max_workers = "auto"', 'wave_size = "auto"', "lease_s = 86400"]
    path = {"ollama": "", "vllm": "/v1"}[scene.kind]
    for number, url in enumerate(scene.urls):
        lines += [f"[endpoints.e{number}]", f'backend = "{scene.kind}"', f'url = "{url}{path}"']
        if scene.kind == "ollama":
            lines += [f"slots = {scene.slots}", f"holds = {scene.holds}"]
    return "\n".join(lines) + "\n"


def orchestrate(pacing: Pacing, order: Order = "auto") -> Callable[[Scene], Outcome]:
    """Submit the records and run, as `orchestrate process-pending` does."""

    def speak(scene: Scene) -> Outcome:
        with TemporaryDirectory() as folder:
            place = workplace(Path(folder), scene.models, settings(scene, order))
            send(place, scene.records)
            told = outlook(place, place.debates(DEBATE))
            watched = run_here(place, told, pacing)
        return Outcome(
            done=watched.end.tally.done,
            first_s=watched.first_s,
            in_flight=watched.settled(),
            notes=tuple(f"{working.casting.name}: {working.why}" for working in told.workings),
        )

    return speak


@dataclass(slots=True, kw_only=True)
class Watched:
    """A run as it was watched turn by turn, in simulated seconds from its first call."""

    began: datetime | None = None
    first_s: float | None = None
    in_flight: list[int] = field(default_factory=list)
    tally: Tally | None = None
    ended: RunEnd | None = None
    seconds: float = 0.0

    @property
    def end(self) -> RunEnd:
        """How it ended. Raises what it ended with, if it did not end well."""
        assert self.ended is not None
        if self.ended.error is not None:
            raise self.ended.error
        return self.ended

    def turn(self, _claim: Claim, _messages: tuple[Message, ...], turn: Turn) -> None:
        """A turn was spoken."""
        if turn.role is Role.JUDGE and self.first_s is None:
            self.first_s = self.since(turn.finished_at)
        if self.tally is not None:
            self.in_flight.append(sum(self.tally.in_flight.values()))

    def begins(self, now: datetime) -> None:
        """The first call is made; what comes later changes nothing."""
        self.began = self.began or now

    def since(self, now: datetime) -> float:
        """Seconds from the first call on."""
        return (now - (self.began or now)).total_seconds()

    def see(self, tally: Tally) -> None:
        """The run begins."""
        self.tally = tally

    def settled(self) -> float | None:
        """Turns in flight in the middle half of the run."""
        quarter = len(self.in_flight) // 4
        middle = self.in_flight[quarter : len(self.in_flight) - quarter]
        return statistics.median(middle) if middle else None


def send(place: Workplace, payloads: Sequence[Payload]) -> None:
    """Submit these records."""
    file = place.config.home / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in payloads), encoding="utf-8")
    submit(place, SubmitRequest(file=file, debate=DEBATE))


def run_here(place: Workplace, told: Outlook, pacing: Pacing) -> Watched:
    """Run what is pending, in simulated time."""
    return asyncio.run(_run(place, told, pacing))


async def _run(place: Workplace, told: Outlook, pacing: Pacing) -> Watched:
    clock = SimulatedClock(pacing)
    watched = Watched()
    async with AsyncExitStack() as stack:
        lanes = [open_lane(place.config, working) for working in told.workings]
        for lane in lanes:
            stack.push_async_callback(lane.endpoint.close)
        if pacing.grace_s:
            # These servers began to count some time ago, and only they know how much it was to them.
            session = await stack.enter_async_context(aiohttp.ClientSession())
            timed = [_timed(place, lane.endpoint, clock, watched, session) for lane in lanes]
            lanes = [replace(lane, endpoint=endpoint) for lane, endpoint in zip(lanes, timed, strict=True)]
            for endpoint in timed:
                await endpoint.ask()
        else:
            watched.begins(clock.now())
        wanted = replace(
            run_settings(place, place.debates(DEBATE), lanes, ""),
            predictions=told.predictions,
            watch=watched.turn,
            display=watched.see,
        )
        settle()
        with place.store() as store, untraced():
            watched.ended = await run(store, clock, wanted)
        watched.seconds = watched.since(clock.now())
    return watched


def _timed(
    place: Workplace, endpoint: Endpoint, clock: SimulatedClock, watched: Watched, session: aiohttp.ClientSession
) -> Timed:
    url = place.config.settings.endpoints[endpoint.name].url.removesuffix("/v1")

    async def ask() -> None:
        async with session.get(f"{url}/_stats") as response:
            clock.told((await response.json())["now_s"])

    return Timed(endpoint, ask, lambda: watched.begins(clock.now()))


class Timed:
    """An endpoint that asks its server for the time before and after everything that takes some.

    `begins` is called before every load and every turn.
    """

    def __init__(self, endpoint: Endpoint, ask: Callable[[], Awaitable[None]], begins: Callable[[], None]) -> None:
        self.ask = ask
        self.name = endpoint.name
        self.backend = endpoint.backend
        self.available = endpoint.available
        self.loaded = endpoint.loaded
        self.files = endpoint.files
        self.weights = endpoint.weights
        self.pressure = endpoint.pressure
        self.close = endpoint.close
        self._endpoint = endpoint
        self._begins = begins

    async def load(self, model: str, sampling: Sampling) -> None:
        """As the endpoint's."""
        await self.ask()
        self._begins()
        await self._endpoint.load(model, sampling)
        await self.ask()

    async def unload(self, model: str) -> None:
        """As the endpoint's."""
        await self.ask()
        await self._endpoint.unload(model)
        await self.ask()

    async def speak(self, request: Request) -> Reply:
        """As the endpoint's."""
        self._begins()
        reply = await self._endpoint.speak(request)
        await self.ask()
        return reply
