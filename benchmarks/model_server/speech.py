"""One reply being made: the new part of the prompt is read, then the reply is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .counts import Counts
from .events import Simulation
from .prompts import Prompt
from .sharing import Gpu, Phase, Rates, Work

OUT_OF_MEMORY = "out of memory"
DIED = "died"


@dataclass(slots=True, kw_only=True, eq=False)
class Speech:
    """A prompt, how long the reply is, and, as they become known, how much was cached and when things were.

    `done` is called once at the end, never after `stop`. Times are simulated seconds. `failure` is why there will be no
    reply; the GPU's time is spent all the same, unless it is the memory that fails.
    """

    prompt: Prompt
    reply_tokens: int
    done: Callable[[], None]
    failure: str = ""
    cached: int = 0
    started: bool = False
    began: float = 0.0
    read: float = 0.0
    ended: float = 0.0
    work: Work | None = None

    def begin(self, sim: Simulation, gpu: Gpu, model: str, rates: Rates, cached: int) -> None:
        """Start reading what is not cached; the last token of a prompt is always read again."""
        self.cached = min(cached, self.prompt.tokens - 1)
        self.started = True
        self.began = self.read = self.ended = sim.now

        def write() -> None:
            self.read = sim.now
            self.work = gpu.start(model, Phase.DECODE, rates, self.reply_tokens, end)

        def end() -> None:
            self.ended = sim.now
            self.work = None
            self.done()

        if self.failure == OUT_OF_MEMORY:
            sim.after(0.0, end)
        else:
            self.work = gpu.start(model, Phase.PREFILL, rates, self.prompt.tokens - self.cached, write)

    def stop(self, gpu: Gpu) -> None:
        """Give the GPU back before the end."""
        if self.work is not None:
            gpu.cancel(self.work)
            self.work = None

    def count(self, counts: Counts, model: str) -> int:
        """Write down that it has ended; gives the status of the answer."""
        counts.event("end", model, began=self.began, read=self.read, failure=self.failure)
        if self.failure:
            return 500
        counts.add("replies", model)
        counts.add("prompt_tokens", model, self.prompt.tokens)
        counts.add("cached_tokens", model, self.cached)
        counts.add("reply_tokens", model, self.reply_tokens)
        return 200
