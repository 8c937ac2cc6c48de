"""Debates that go from endpoint to endpoint and back: no lane ends before all of them have nothing left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.app.planning import plan
from orchestrator.app.workplace import Workplace
from orchestrator.domain import RunId, RunStatus
from orchestrator.ports import ClaimRequest, RunStart
from tests.integration.places import run_here, workplace

CAST = {"advocate": "rehearsal-a", "critic": "rehearsal-b", "judge": "rehearsal-a"}
SETTINGS = """
[endpoints.left]
backend = "rehearsal"
models = ["rehearsal-a"]
[endpoints.right]
backend = "rehearsal"
models = ["rehearsal-b"]
"""


@pytest.mark.parametrize("records", [1, 2, 3, 5])
async def test_no_lane_ends_before_the_others(tmp_path: Path, records: int) -> None:
    place = workplace(tmp_path, CAST, SETTINGS, records=records)

    end = await run_here(place)

    assert (end.status, end.tally.done, end.tally.turns) == (RunStatus.DONE, records, 3 * records)


def test_plan_counts_what_a_dead_run_holds(tmp_path: Path) -> None:
    place = workplace(tmp_path, CAST, SETTINGS, records=3)
    now = datetime.now(UTC)
    with place.store() as store:
        run_id = store.begin_run(RunStart(host="here", pid=1, lock=".gone.lock", max_workers=1, started_at=now))
        store.claim(claim(place, run_id, now))

    said = plan(place, None)

    assert (said.tasks, sum(role.turns for role in said.roles)) == (3, 9)


def claim(place: Workplace, run_id: RunId, now: datetime) -> ClaimRequest:
    """Two fresh tasks for the left endpoint, under a lease of a minute."""
    return ClaimRequest(
        run_id=run_id,
        endpoint="left",
        digest=place.debate("posting").digest,
        model="rehearsal-a",
        limit=2,
        now=now,
        leased_until=now + timedelta(seconds=60),
        fresh=True,
    )
