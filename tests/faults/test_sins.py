"""No sin of a server becomes a verdict that should not be, and none costs more calls than its budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.sins import PATH, RIGHT, suffer
from tests.servers.sins import SINS

pytestmark = pytest.mark.slow


def test_every_sin_has_its_right() -> None:
    assert SINS.keys() == RIGHT.keys()


@pytest.mark.parametrize("backend", PATH)
@pytest.mark.parametrize(
    "name",
    SINS,
)
async def test_sin_costs_no_more_than_it_should(name: str, backend: str, tmp_path: Path) -> None:
    outcome = await suffer(name, backend, tmp_path)

    assert outcome.breaches(RIGHT[name]) == []


@pytest.mark.parametrize("backend", PATH)
async def test_servers_delay_is_waited(backend: str, tmp_path: Path) -> None:
    outcome = await suffer("429 with Retry-After", backend, tmp_path)

    assert outcome.gaps_s[0] >= 1.0


@pytest.mark.parametrize("backend", PATH)
async def test_outage_costs_no_attempt(backend: str, tmp_path: Path) -> None:
    outcome = await suffer("connection refused", backend, tmp_path)

    assert outcome.end.tally.failed == 0
    assert outcome.end.tally.paused == {}
