"""vLLM as a model of time: requests wait for a place and for blocks, then share the GPU. No sockets, no clock.

Where the real engine takes blocks for a reply as it grows, and throws a request out when there are none left, this one
takes those for the whole reply at once: nothing is ever computed twice, and the cache is full at the same load.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from .blocks import BlockCache, Lease
from .counts import Counts
from .events import Simulation
from .profile import Profile
from .prompts import Prompt
from .sharing import Gpu
from .speech import OUT_OF_MEMORY, Speech

GONE = 499
SERVED = (
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "num_preemptions_total",
)


class EngineFull(Exception):  # noqa: N818 - the server's words
    """More requests are in the engine than `max_num_queued_reqs` allows."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One request. `done` is called once, but not for a client that has gone; `aborted`: sleep cut it off."""

    prompt: Prompt
    reply_tokens: int
    done: Callable[[], None]
    salt: str = ""
    priority: int = 0
    failure: str = ""
    speech: Speech | None = None
    lease: Lease | None = None
    hashes: list[int] | None = None
    aborted: bool = False
    over: bool = False


class VllmModel:
    """One engine with one model on one GPU."""

    def __init__(self, sim: Simulation, profile: Profile, counts: Counts) -> None:
        self.profile = profile
        self.counts = counts
        self.asleep = False
        self.model = profile.models[0]
        self.cache = BlockCache(max(1, profile.vllm.kv_tokens // profile.vllm.block_size))
        self.running: set[Call] = set()
        self._sim = sim
        self.gpu = Gpu(sim, profile.gpu.prefill_share, counts.busy)
        # Counters of the server's own metrics, which no reset of the counts touches.
        self.served = dict.fromkeys(SERVED, 0.0)
        self._waiting: list[tuple[int, int, Call]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """Requests that do not run yet."""
        return len(self._waiting)

    @property
    def longest(self) -> int:
        """Tokens a prompt and its reply may have together."""
        return min(self.profile.vllm.max_model_len, self.cache.capacity * self.profile.vllm.block_size)

    def submit(self, call: Call) -> None:
        """Begin a request. Raises EngineFull."""
        settings = self.profile.vllm
        self.counts.arrive(self.model.name)
        # Recorded: with 4 running and 4 waiting, a limit of 8 refused the next.
        if 0 < settings.max_num_queued_reqs <= len(self.running) + self.waiting:
            self.counts.leave(self.model.name, 503)
            raise EngineFull
        priority = call.priority if settings.priority == "honoured" else 0
        heapq.heappush(self._waiting, (priority, next(self._order), call))
        self._admit()

    def cancel(self, call: Call) -> None:
        """The client has gone."""
        if not call.over:
            self._end(call, GONE)

    def sleep(self) -> None:
        """Cut off whatever is in the engine, drop the cache, and let requests wait until `wake`."""
        self.asleep = True
        for call in [*self.running, *(call for _, _, call in sorted(self._waiting, key=lambda entry: entry[:2]))]:
            call.aborted = True
            self._end(call, 200)
        self.cache.clear()
        self.counts.event("sleep", self.model.name)

    def wake(self) -> None:
        """Serve again, with an empty cache."""
        self.asleep = False
        self.counts.event("wake", self.model.name)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and not self.asleep and len(self.running) < self.profile.vllm.max_num_seqs:
            call = self._waiting[0][2]
            lease = self._lease(call)
            if lease is None:
                break
            heapq.heappop(self._waiting)
            self._begin(call, lease)
        self._count()

    def _lease(self, call: Call) -> Lease | None:
        settings = self.profile.vllm
        size = settings.block_size
        if call.hashes is None:
            call.hashes = call.prompt.blocks(size, call.salt) if settings.prefix_caching else []
        total = math.ceil((call.prompt.tokens + call.reply_tokens) / size)
        return self.cache.take(call.hashes, total, (call.prompt.tokens - 1) // size)

    def _begin(self, call: Call, lease: Lease) -> None:
        name = self.model.name

        def spoken() -> None:
            self._end(call, speech.count(self.counts, name))

        if 0 < self.profile.replies.oom_streams <= len(self.running):
            call.failure = OUT_OF_MEMORY
        speech = Speech(prompt=call.prompt, reply_tokens=call.reply_tokens, failure=call.failure, done=spoken)
        call.lease, call.speech = lease, speech
        self.running.add(call)
        cached = lease.hits * self.profile.vllm.block_size
        speech.begin(self._sim, self.gpu, name, self.profile.rates(self.model), cached)
        self.served["prefix_cache_queries_total"] += call.prompt.tokens
        self.served["prefix_cache_hits_total"] += cached
        self.served["prompt_tokens_total"] += call.prompt.tokens
        self.served["generation_tokens_total"] += call.reply_tokens
        self.counts.event("begin", name, new=call.prompt.tokens - cached, cached=cached)

    def _end(self, call: Call, status: int) -> None:
        call.over = True
        if call.speech is not None:
            call.speech.stop(self.gpu)
        self.running.discard(call)
        if call.lease is not None:
            self.cache.release(call.lease)
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not call]
            heapq.heapify(self._waiting)
        self.counts.leave(self.model.name, status)
        if status != GONE:
            call.done()
        self._admit()

    def _count(self) -> None:
        self.counts.level("running").set(len(self.running))
        self.counts.level("waiting").set(self.waiting)
