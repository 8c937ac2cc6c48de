"""A probe: a few pending records debated for the sake of what their turns and loads take. Only that is stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.clock import SystemClock
from orchestrator.app.planning import plan
from orchestrator.app.running import RunRequest, dry_run
from orchestrator.app.workplace import Workplace
from orchestrator.debate.order import steps
from orchestrator.domain import Claim, RunStatus, Turn
from orchestrator.errors import BusyError, NotFoundError, OrchestrateError
from orchestrator.ports import Message
from orchestrator.scheduler.liveness import speaking
from orchestrator.scheduler.run import RunEnd

RECORDS = 5
_FOR_EACH_WORKER = 1.25  # the last records of a probe leave workers idle

Progress = Callable[[int, int], None]  # turns spoken, and how many there will be


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a probe did, in `seconds` of our own clock."""

    records: int
    turns: int
    failed_attempts: int
    seconds: float


def probe(workplace: Workplace, name: str | None, progress: Progress) -> Probed:
    """Debate a few pending records of each debate on memory only, and keep what their turns and loads took.

    Five records of each debate; more where more workers would otherwise have nothing to do, fewer where fewer are
    pending.

    Raises:
        NotFoundError: no task is pending.
        BusyError: a run is speaking; beside it every turn would take longer than it does.
        OrchestrateError: a server failed, or no turn went well; nothing was measured.
    """
    counts = _counts(workplace, name)
    database, clock = workplace.config.database, SystemClock()
    _alone(database, "wait until it has ended")
    started = clock.monotonic()
    ends = _ends(workplace, counts, progress)
    _alone(database, "what was measured beside it is not kept; wait until it has ended")
    turns, loads = [rate for end in ends for rate in end.turn_rates], [rate for end in ends for rate in end.load_rates]
    if not turns:
        raise OrchestrateError("no turn went well, so nothing was measured: see why with process-pending --dry-run")
    with workplace.store() as store:
        store.keep_rates(None, turns, loads, clock.now())
    return Probed(
        records=sum(counts.values()),
        turns=sum(end.tally.turns for end in ends),
        failed_attempts=sum(end.tally.failures.total() for end in ends),
        seconds=clock.monotonic() - started,
    )


def _counts(workplace: Workplace, name: str | None) -> dict[str, int]:
    """How many records of each debate are spoken; raises NotFoundError if there is none."""
    counts = {}
    for debate in workplace.debates(name):
        workers = sum(each.max_workers or 0 for each in plan(workplace, debate.name).endpoints)
        most = max(RECORDS, math.ceil(_FOR_EACH_WORKER * workers))
        with workplace.reading() as reading:
            counts[debate.name] = len(reading.pending(debate.name, most))
    if not any(counts.values()):
        raise NotFoundError("nothing is pending, so there is nothing to probe with: submit records first")
    return {debate: count for debate, count in counts.items() if count}


def _ends(workplace: Workplace, counts: Mapping[str, int], progress: Progress) -> Sequence[RunEnd]:
    expected = sum(count * len(steps(workplace.debate(debate))) for debate, count in counts.items())
    spoken = 0

    def watch(_claim: Claim, _messages: tuple[Message, ...], _turn: Turn) -> None:
        nonlocal spoken
        spoken += 1
        progress(spoken, expected)

    ends = []
    for debate, count in counts.items():
        end = dry_run(workplace, RunRequest(debate=debate), count, watch)
        if end.status is RunStatus.INTERRUPTED:
            raise KeyboardInterrupt
        if end.error is not None:
            raise end.error
        ends.append(end)
    return ends


def _alone(database: Path, advice: str) -> None:
    if speaking(database):
        raise BusyError(f"a run is speaking on this database, and a probe wants the servers to itself: {advice}")
