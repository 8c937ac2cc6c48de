"""A record that kills its worker, eats its memory, breaks its template or its model: it fails, and holds nobody up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.workplace import Workplace
from tests.faults import report
from tests.faults.nights import broken, rows
from tests.integration.places import ROOT, run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply

RECORDS = 12
POISON = "posting-003"
MODEL = "qwen2.5:7b"
REHEARSED = dict.fromkeys(("advocate", "critic", "judge"), "rehearsal")
CAST = dict.fromkeys(REHEARSED, MODEL)
MAX_ATTEMPTS = 3
SETTINGS = f"max_workers = 4\nmax_attempts = {MAX_ATTEMPTS}\n"
FAILED = """
SELECT key, error_class, (SELECT count(*) FROM attempts WHERE task_id = tasks.id) FROM tasks
JOIN jobs ON jobs.id = tasks.job_id WHERE status = 'failed'
"""

pytestmark = pytest.mark.slow


def outcome(place: Workplace) -> tuple[list[tuple[Any, ...]], int]:
    """The failed tasks with their class and attempts, and how many have a verdict."""
    database = place.config.database
    assert broken(database) == []
    return rows(database, FAILED), rows(database, "SELECT count(*) FROM verdicts")[0][0]


def poisoned(place: Workplace, how: str) -> int:
    """How a run ended that met the poison."""
    words = [sys.executable, "-m", "tests.faults.poisoned", str(place.config.home), POISON, how]
    return subprocess.run(words, cwd=ROOT, check=False, timeout=120).returncode


def title_of(key: str) -> str:
    """The title of a record of the shipped sample."""
    records = map(json.loads, (ROOT / "prompts/posting/sample.jsonl").read_text().splitlines())
    return next(str(record["title"]) for record in records if record["id"] == key)


def tell(name: str, place: Workplace, faults: int) -> None:
    """Attempts that failed at the same moment failed by the same fault; the last one of the poison is not repeated."""
    at_once = [count for (count,) in rows(place.config.database, "SELECT count(*) FROM attempts GROUP BY finished_at")]
    report.line(f"F13 poison: {name}", faults, faults, 0, 0, sum(at_once) - 1, max(at_once))


def test_record_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    place = workplace(tmp_path / "place", REHEARSED, SETTINGS, records=RECORDS)

    ends = [poisoned(place, "killed")]
    while ends[-1] and len(ends) < 3 * MAX_ATTEMPTS:
        ends.append(poisoned(place, "killed"))

    assert ends == [-9] * MAX_ATTEMPTS + [0]
    assert outcome(place) == ([(POISON, "lost", MAX_ATTEMPTS)], RECORDS - 1)
    tell("it kills its worker", place, MAX_ATTEMPTS)


def test_record_that_eats_memory_fails_alone(tmp_path: Path) -> None:
    place = workplace(tmp_path / "place", REHEARSED, SETTINGS, records=RECORDS)

    assert poisoned(place, "memory") == 0

    assert outcome(place) == ([(POISON, "deterministic", 1)], RECORDS - 1)
    tell("it eats the memory", place, 1)


async def test_record_that_breaks_its_template_fails_alone(tmp_path: Path) -> None:
    place = workplace(tmp_path / "place", REHEARSED, SETTINGS, records=RECORDS)
    prompts = tmp_path / "place/prompts/posting"
    prompts.mkdir(parents=True)
    for file in (ROOT / "prompts/posting").iterdir():
        (prompts / file.name).write_bytes(file.read_bytes())
    with (prompts / "record.md").open("a") as template:
        template.write(f"{{% if title == {title_of(POISON)!r} %}}{{{{ 1 // (title | length * 0) }}}}{{% endif %}}\n")

    await run_here(place)

    assert outcome(place) == ([(POISON, "deterministic", 1)], RECORDS - 1)
    tell("it breaks its template", place, 1)


async def test_record_whose_model_is_never_valid_fails_alone(tmp_path: Path) -> None:
    title = title_of(POISON)

    def reply(body: dict[str, Any]) -> str:
        return "I would rather not." if title in json.dumps(body["messages"]) else default_reply(body)

    async with OllamaStandIn(models=[MODEL], slots=4, num_ctx=8192, reply=reply) as server:
        settings = f'{SETTINGS}[endpoints.gpu]\nbackend = "ollama"\nurl = "{server.url}"\n'
        place = workplace(tmp_path / "place", CAST, settings, records=RECORDS)

        await run_here(place)

    assert outcome(place) == ([(POISON, "shape", 2)], RECORDS - 1)  # twice the same error is enough
    tell("its model is never valid", place, 1)
