"""A probe measures with the servers to itself, and keeps nothing that was measured otherwise."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.app.probing import probe
from orchestrator.app.workplace import Workplace
from orchestrator.errors import BusyError, NotFoundError
from orchestrator.scheduler.liveness import alive
from tests.integration.places import workplace

CAST = dict.fromkeys(("advocate", "critic", "judge"), "rehearsal")


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return workplace(tmp_path / "place", CAST, "")


def rates(place: Workplace) -> int:
    with place.reading() as reading:
        return len(reading.rates()[0])


def test_each_turn_is_told_of(place: Workplace) -> None:
    told: list[tuple[int, int]] = []

    probed = probe(place, None, lambda spoken, expected: told.append((spoken, expected)))

    assert told == [(spoken, 15) for spoken in range(1, 16)]
    assert (probed.records, probed.turns) == (5, 15)
    assert rates(place) > 0


def test_run_begun_meanwhile_spoils_measurement(place: Workplace) -> None:
    with ExitStack() as runs:

        def begin(spoken: int, _expected: int) -> None:
            if spoken == 1:
                runs.enter_context(alive(place.config.database))

        with pytest.raises(BusyError, match="what was measured beside it is not kept"):
            probe(place, None, begin)

    assert rates(place) == 0


def test_debate_without_records_is_refused(place: Workplace) -> None:
    with pytest.raises(NotFoundError, match="nothing is pending"):
        probe(place, "candidate", lambda _spoken, _expected: None)
