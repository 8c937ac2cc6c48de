"""One run of one contender in one case, and what is written down about it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison.bound import Bound, bound, resident_at_once
from benchmarks.comparison.contenders import Outcome, Scene
from benchmarks.comparison.servers import Counted, Json, Pacing, counted, on_first_core, running, timeline
from benchmarks.comparison.workload import DEBATE, ORDER, Asked, foreseen, records, workplace
from benchmarks.model_server.profile import Profile, load_profile
from orchestrator.cast import Debate
from orchestrator.domain import Role

# The part of its time that a server with a call in flight at nearly every moment may have nothing to do.
_DISTURBED = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way of doing it. One that takes for ever does `share` of the records, at a pace of its own."""

    name: str
    client: str
    run: Callable[[Scene], Outcome]
    share: float = 1.0
    pacing: Pacing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A server, a cast and so many records. `source` is a profile's name or its file."""

    group: str
    title: str
    source: str
    changes: tuple[str, ...]
    models: Mapping[Role, str]
    records: int
    pacing: Pacing
    contenders: tuple[Contender, ...] = ()

    @property
    def profile(self) -> Profile:
        """The profile as it is changed."""
        return load_profile(self.source, self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a run came to. `makespan_s` is simulated; the share of records that was done is made up for by proportion.

    `measured_s` is the makespan of the records that were done, and `bound_s` the bound of just those. `real_s` is what
    it took by the clock on the wall, and `cpu_s` what the client computed meanwhile.
    """

    group: str
    title: str
    contender: str
    client: str
    records: int
    done: int
    makespan_s: float
    measured_s: float
    bound_s: float
    bound_loads: int
    counted: Counted
    outcome: Outcome
    real_s: float
    cpu_s: float
    events: tuple[Json, ...] = ()

    @property
    def to_bound(self) -> float:
        """How many times the bound it took."""
        return self.measured_s / self.bound_s


def measure(case: Case, contender: Contender, *, keep_events: bool = False) -> Row:
    """Run a contender, and once more if one server waited for its client: then something else held that up.

    Raises:
        RuntimeError: as `run_once`.
    """
    row = run_once(case, contender, keep_events=keep_events)
    if case.profile.replicas > 1 or row.counted.idle_share <= _DISTURBED:
        return row
    again = run_once(case, contender, keep_events=keep_events)
    return min(row, again, key=lambda each: each.counted.idle_share)


def run_once(case: Case, contender: Contender, *, keep_events: bool = False) -> Row:
    """Run a contender.

    Raises:
        RuntimeError: not every debate came to its end, or the servers counted other turns than were asked for.
    """
    count = max(1, round(case.records * contender.share))
    pacing = contender.pacing or case.pacing
    least = bound_of(case, count)
    with running(case.profile, case.source, case.changes, pacing) as urls, on_first_core():
        scene = scene_of(case, count, urls)
        gc.collect()
        began, cpu = time.monotonic(), time.process_time()
        outcome = contender.run(scene)
        real, busy = time.monotonic() - began, time.process_time() - cpu
        total = counted(urls)
        events = tuple(timeline(urls[0])) if keep_events else ()
    _check(f"{case.title}, {contender.name}", outcome, total, count)
    return Row(
        group=case.group,
        title=case.title,
        contender=contender.name,
        client=contender.client,
        records=case.records,
        done=count,
        makespan_s=total.makespan_s * case.records / count,
        measured_s=total.makespan_s,
        bound_s=least.seconds,
        bound_loads=least.loads,
        counted=total,
        outcome=outcome,
        real_s=real,
        cpu_s=busy,
        events=events,
    )


def scene_of(case: Case, count: int, urls: tuple[str, ...]) -> Scene:
    """The case's first records, on these servers."""
    profile = case.profile
    return Scene(
        kind=profile.kind,
        urls=urls,
        debate=debate_of(case),
        models=case.models,
        records=records(count),
        slots=profile.ollama.slots,
        holds=resident_at_once(profile, set(case.models.values())),
    )


def debate_of(case: Case) -> Debate:
    """The debate with the case's cast."""
    with TemporaryDirectory() as folder:
        return workplace(Path(folder), case.models, "").debate(DEBATE)


def bound_of(case: Case, count: int) -> Bound:
    """The bound of the case's first records."""
    return bound(case.profile, transcript(case, count))


def transcript(case: Case, count: int) -> Sequence[Sequence[Asked]]:
    """Every call of the case's first records, worked out without a server."""
    return _transcript(case.source, case.changes, tuple(case.models.items()), count)


@lru_cache(maxsize=4)
def _transcript(
    source: str, changes: tuple[str, ...], models: tuple[tuple[Role, str], ...], count: int
) -> Sequence[Sequence[Asked]]:
    case = Case(
        group="",
        title="",
        source=source,
        changes=changes,
        models=dict(models),
        records=count,
        pacing=Pacing(scale=1.0),
    )
    return foreseen(debate_of(case), records(count), case.profile)


def _check(what: str, outcome: Outcome, total: Counted, debates: int) -> None:
    if outcome.done != debates:
        raise RuntimeError(f"{what}: {outcome.done} of {debates} debates came to an end")
    if total.replies != debates * len(ORDER):
        raise RuntimeError(f"{what}: the servers gave {total.replies} replies to {debates} debates of {len(ORDER)}")
