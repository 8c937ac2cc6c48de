"""What `orchestrate plan` said of a run, beside what came of it.

A first run of a part of the records leaves in the database what a night before would have: rates and loads. Then the
rest is submitted, planned and run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.comparison.bound import bound
from benchmarks.comparison.cases import CACHES, FOUR_SLOTS, JITTER, OURS, SWAPS
from benchmarks.comparison.measure import Case, scene_of, transcript
from benchmarks.comparison.ours import Watched, run_here, send, settings
from benchmarks.comparison.servers import Pacing, on_first_core, running
from benchmarks.comparison.workload import DEBATE, workplace
from orchestrator.app.planning import Plan, outlook
from orchestrator.app.workplace import Workplace

_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """A plan, its run and the bound of that, in simulated seconds; None where the plan did not know."""

    title: str
    measured_on: int
    records: int
    planned_s: float | None
    low_s: float | None
    high_s: float | None
    took_s: float
    bound_s: float
    planned_loads: int
    loads: int
    planned_first_s: float | None
    first_s: float | None

    @property
    def apart(self) -> float | None:
        """By what part of the measured time the plan was wrong."""
        return None if self.planned_s is None else self.planned_s / self.took_s - 1


def foretell(case: Case, share: float = 0.25) -> Foretold:
    """Debate a share of the case's records, then plan and debate the rest."""
    pacing = next((each.pacing for each in case.contenders if each.name == OURS), None) or case.pacing
    with running(case.profile, case.source, case.changes, pacing) as urls, on_first_core():
        scene = scene_of(case, case.records, urls)
        first = max(1, round(case.records * share))
        with TemporaryDirectory() as folder:
            place = workplace(Path(folder), case.models, settings(scene, "auto"))
            send(place, scene.records[:first])
            _planned(place, pacing)
            send(place, scene.records[first:])
            plan, watched = _planned(place, pacing)
    return _foretold(case, first, plan, watched)


def wanted(chosen: Sequence[Case]) -> list[Case]:
    """The cases worth a plan: one of each kind of server and order, with no more records than tell something.

    Each three times: with replies of one length a role, with jitter, and with jitter and every fiftieth call failing.
    """
    titles = (SWAPS, FOUR_SLOTS, f"H100, vLLM, a cache of {CACHES[1]:,} tokens")
    found = [replace(case, records=min(case.records, _MOST)) for case in chosen if case.title in titles]
    return [replace(case, title=title, changes=changes) for case in found for title, changes in _replies(case)]


def _replies(case: Case) -> list[tuple[str, tuple[str, ...]]]:
    fixed = tuple(change for change in case.changes if change != JITTER)
    return [
        (f"{case.title}, replies of one length", fixed),
        (case.title, case.changes),
        (f"{case.title}, 2 % of calls fail", (*case.changes, "fail_share=0.02")),
    ]


def _planned(place: Workplace, pacing: Pacing) -> tuple[Plan, Watched]:
    told = outlook(place, place.debates(DEBATE))
    return told.plan, run_here(place, told, pacing)


def _foretold(case: Case, first: int, plan: Plan, watched: Watched) -> Foretold:
    return Foretold(
        title=case.title,
        measured_on=first,
        records=watched.end.tally.done,
        planned_s=plan.seconds,
        low_s=plan.low,
        high_s=plan.high,
        took_s=watched.seconds,
        bound_s=bound(case.profile, transcript(case, case.records)[first:]).seconds,
        planned_loads=sum(each.loads for each in plan.endpoints),
        loads=watched.end.tally.swaps,
        planned_first_s=plan.first_verdict,
        first_s=watched.first_s,
    )
