"""A night that an older version began, and that died in it, goes on after the upgrade."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.app.moving import upgrade
from orchestrator.app.workplace import Workplace
from orchestrator.scheduler.liveness import dead
from orchestrator.store import schema
from tests.acceptance.places import spoken
from tests.integration.places import run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.store_rows import MIGRATIONS

A, B = "qwen2.5:7b", "gemma2:9b"
CAST = {"advocate": A, "critic": B, "judge": A}
WORDS = ("Staff", "Laboratory", "Coordinator,", "Backend")  # that the titles of the first records begin with

# The first record has an advocate and a critic, the second an advocate, the third one too and a critic about to speak,
# the fourth nothing; the dead run was about to load another model.
M0001_ROWS = f"""
INSERT INTO runs VALUES (7, 'here', 1, '.gone.lock', 4, 'running', '', :at, NULL);
INSERT INTO endpoints VALUES ('gpu', '["{B}"]', 4, 7, '2099-01-01T00:00:00.000000Z');
INSERT INTO turns SELECT NULL, id, 7, 1, 'advocate', 1, '{A}', 'ollama', 'gpu', 0, 0, 'hash', 1, 1, 900, NULL, 20,
    0.1, 0.1, 1.0, 1.2, :at, :at, 'for it', '{{"analysis": "for it", "evidence": [], "suggested_score": 7}}', '[]'
    FROM tasks WHERE id < 4;
INSERT INTO turns SELECT NULL, id, 7, 2, 'critic', 1, '{B}', 'ollama', 'gpu', 0, 0, 'hash', 1, 1, 900, NULL, 20,
    0.1, 0.1, 1.0, 1.2, :at, :at, 'against', '{{"analysis": "against", "evidence": [], "nothing_to_contest": false,
    "suggested_score": 3}}', '[]' FROM tasks WHERE id < 2;
UPDATE tasks SET next_role = 'judge', next_model = '{A}', fresh = 0, token = 2, run_id = 7 WHERE id = 1;
UPDATE tasks SET next_role = 'critic', next_model = '{B}', fresh = 0, token = 1, run_id = 7 WHERE id IN (2, 3);
UPDATE tasks SET status = 'leased', endpoint = 'gpu', leased_until = '2099-01-01T00:00:00.000000Z', token = 2,
    attempts = 1 WHERE id = 3;
"""


def half_done(home: Path, url: str) -> Workplace:
    """Four records in a database of m0001, some of their turns spoken by a run that is dead."""
    place = workplace(home, CAST, f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\nslots = 2\n', records=4)
    schema.downgrade(place.config.database, MIGRATIONS, "m0001")
    with closing(sqlite3.connect(place.config.database)) as database:
        database.executescript(M0001_ROWS.replace(":at", "'2026-11-21T10:50:00.000000Z'"))
    return place


def turns(place: Workplace) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.config.database)) as database:
        # Columns that later revisions add stand behind these.
        return [row[:26] for row in database.execute("SELECT * FROM turns ORDER BY id")]


async def test_half_done_night_goes_on_after_upgrade(tmp_path: Path) -> None:
    calls, home = tmp_path / "calls", tmp_path / "place"
    async with OllamaStandIn(models=[A, B], slots=2, num_ctx=8192, calls_file=calls) as server:
        place = half_done(home, server.url)
        before = turns(place)

        _, changed = upgrade(place)
        end = await run_here(place, dead=partial(dead, place.config.database))

    judged = [(word, "judge") for word in WORDS]
    assert changed
    assert spoken(calls) == Counter([*judged, *((word, "critic") for word in WORDS[1:]), (WORDS[3], "advocate")])
    assert (end.tally.done, end.tally.turns, end.tally.rescued, end.tally.swaps) == (4, 8, 1, 3)
    assert turns(place)[: len(before)] == before
    assert len(turns(place)) == 12
