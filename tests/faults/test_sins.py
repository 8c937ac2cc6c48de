"""No sin of a server becomes a verdict that should not be, and none costs more calls than its budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.sins import PATH, RIGHT, committed_by, suffer
from tests.servers.sins import SINS

pytestmark = pytest.mark.slow


def test_every_sin_has_its_right() -> None:
    assert SINS.keys() == RIGHT.keys()


@pytest.mark.parametrize(("backend", "name"), [(backend, name) for backend in PATH for name in committed_by(backend)])
async def test_sin_costs_what_it_should(name: str, backend: str, tmp_path: Path) -> None:
    outcome = await suffer(name, backend, tmp_path)

    assert outcome.breaches(RIGHT[name]) == []


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
