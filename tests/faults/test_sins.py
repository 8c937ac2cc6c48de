"""No sin of a server becomes a verdict that should not be, and none costs more calls than its budget."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.sins import PATH, RIGHT, committed_by, suffer, suffer_all
from tests.servers.sins import SINS

pytestmark = pytest.mark.slow


def test_every_sin_has_its_right() -> None:
    assert SINS.keys() == RIGHT.keys()


@pytest.mark.parametrize("backend", PATH)
async def test_sins_cost_what_they_should(backend: str) -> None:
    outcomes = await suffer_all(committed_by(backend), backend)

    wrong = {each.sin: breaches for each in outcomes if (breaches := each.breaches(RIGHT[each.sin]))}
    broken, again = sum(len(each.wrong) for each in outcomes), sum(each.again for each in outcomes)
    points, most = sum(each.sins for each in outcomes), max(ceil(each.again / each.sins) for each in outcomes)
    survived = points - sum(each.sins for each in outcomes if each.sin in wrong)
    name = f"F12 server: each of {len(outcomes)} sins on one record, {backend}"
    report.line(name, points, survived, 0, broken, again, most, len(outcomes))
    assert wrong == {}


@pytest.mark.parametrize("backend", PATH)
async def test_no_sin_passes_without_being_committed(backend: str, tmp_path: Path) -> None:
    clean = await suffer("503", backend, tmp_path, marked="this stands in no prompt")

    assert (clean.sins, clean.verdict) == (0, True)
    assert [name for name in SINS if not replace(clean, sin=name).breaches(RIGHT[name])] == []


@pytest.mark.parametrize("backend", PATH)
async def test_servers_delay_is_waited(backend: str, tmp_path: Path) -> None:
    outcome = await suffer("429 with Retry-After", backend, tmp_path)

    assert outcome.gaps_s[0] >= 1.0


@pytest.mark.parametrize("backend", PATH)
async def test_outage_costs_no_attempt(backend: str, tmp_path: Path) -> None:
    outcome = await suffer("connection refused", backend, tmp_path)

    assert outcome.end.tally.failed == 0
    assert outcome.end.tally.paused == {}
