"""Ollama as a model of time: calls claim a model, then a slot, then the GPU. No sockets and no clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.ollama_runners import QueueFull, Settings

from .counts import Counts
from .events import Simulation
from .profile import ModelSettings, Profile
from .prompts import Prompt
from .residency import Residency, Runner, Ticket
from .sharing import Gpu
from .slots import Slots
from .speech import OUT_OF_MEMORY, Speech

GONE = 499


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call for a model; without a prompt it only loads.

    `done` is called once, after the model was given back, but not for a client that has gone. `arrived`, `granted` and
    `ended` are simulated seconds. `failure` is set from outside, or by the server when its memory is full.
    """

    model: ModelSettings
    settings: Settings
    keep_s: float | None
    done: Callable[[], None]
    prompt: Prompt | None = None
    reply_tokens: int = 0
    failure: str = ""
    arrived: float = 0.0
    granted: float = 0.0
    ended: float = 0.0
    speech: Speech | None = None
    ticket: Ticket | None = None
    over: bool = False


class OllamaModel:
    """One server with one GPU."""

    def __init__(self, sim: Simulation, profile: Profile, counts: Counts) -> None:
        self.profile = profile
        self.counts = counts
        self.gpu = Gpu(sim, profile.gpu.prefill_share, counts.busy)
        self.residency = Residency(sim, profile, counts, self._slots)
        self._sim = sim
        self._speaking: set[Speech] = set()

    def submit(self, call: Call) -> None:
        """Begin a call. Raises QueueFull."""
        call.arrived = self._sim.now

        def grant(runner: Runner) -> None:
            self._granted(call, runner)

        call.ticket = Ticket(model=call.model, settings=call.settings, keep_s=call.keep_s, grant=grant)
        self.counts.arrive(call.model.name)
        try:
            self.residency.ask(call.ticket)
        except QueueFull:
            self.counts.leave(call.model.name, 503)
            raise

    def cancel(self, call: Call) -> None:
        """The client has gone."""
        if not call.over:
            self._end(call, GONE)

    def unload(self, model: ModelSettings) -> None:
        """Make a model leave when it is idle."""
        self.residency.unload(model)

    def _slots(self, model: ModelSettings) -> Slots:
        def start(speech: Speech, cached: int) -> None:
            if 0 < self.profile.replies.oom_streams <= len(self._speaking):
                speech.failure = OUT_OF_MEMORY
            self._speaking.add(speech)
            speech.begin(self._sim, self.gpu, model.name, self.profile.rates(model), cached)
            self.counts.event("begin", model.name, new=speech.prompt.tokens - speech.cached, cached=speech.cached)

        return Slots(self.profile.ollama.slots, start)

    def _granted(self, call: Call, runner: Runner) -> None:
        call.granted = self._sim.now
        if call.prompt is None:
            self._end(call, 200)
            return

        def spoken() -> None:
            self._end(call, speech.count(self.counts, call.model.name))

        speech = Speech(prompt=call.prompt, reply_tokens=call.reply_tokens, failure=call.failure, done=spoken)
        call.speech = speech
        runner.slots.take(speech)
        self._count()

    def _end(self, call: Call, status: int) -> None:
        """Give back the slot, then the model: whoever waits for either goes on at this very moment."""
        call.over = True
        call.ended = self._sim.now
        ticket, speech = call.ticket, call.speech
        if speech is not None and ticket is not None and ticket.runner is not None:
            call.failure = speech.failure
            speech.stop(self.gpu)
            self._speaking.discard(speech)
            ticket.runner.slots.leave(speech)
        if ticket is not None and status == GONE:
            self.residency.cancel(ticket)
        elif ticket is not None:
            self.residency.release(ticket)
        self._count()
        self.counts.leave(call.model.name, status)
        if status != GONE:
            call.done()

    def _count(self) -> None:
        waiting = sum(runner.slots.waiting for runner in self.residency.loaded.values())
        self.counts.level("waiting_for_slot").set(waiting)
        self.counts.level("speaking").set(len(self._speaking))
