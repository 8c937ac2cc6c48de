"""F13: a record that kills its worker, eats its memory, breaks its template or its model fails, and holds nobody up.

The calls are those that a server was asked for. A task that was only claimed when another one's record killed the
worker loses an attempt too, and must not fail of it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.workplace import Workplace
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.injection import Injection
from tests.faults.nights import rows
from tests.faults.scene import Account, Scene, Stage
from tests.integration.places import ROOT, run_here, workplace
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply

RECORDS = 12
WORKERS = 4
AHEAD = 1  # tasks claimed without a seat
POISON = "posting-003"
MODEL = "qwen2.5:7b"
CAST = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
MAX_ATTEMPTS = 3
LATENCY_S = 0.05
FAILED = """
SELECT key, error_class, (SELECT count(*) FROM attempts WHERE task_id = tasks.id) FROM tasks
JOIN jobs ON jobs.id = tasks.job_id WHERE status = 'failed'
"""
# Tasks other than the poison that were claimed when their worker died.
INNOCENT = """
SELECT DISTINCT key FROM attempts JOIN tasks ON tasks.id = task_id JOIN jobs ON jobs.id = job_id
WHERE attempts.error_class = 'lost' AND key <> '{key}'
"""

pytestmark = pytest.mark.slow


def outcome(database: Path) -> tuple[list[tuple[Any, ...]], int]:
    """The failed tasks with their class and attempts, and how many have a verdict."""
    assert Audit().breaches(database, database.parent) == []
    return rows(database, FAILED), rows(database, "SELECT count(*) FROM verdicts")[0][0]


def eaten(scene: Scene, key: str, *, hungry: bool, **settings: str) -> list[int]:
    """How the runs ended that met the poison, until one came to its end."""
    injected = Injection(acknowledged=str(scene.acknowledged), poison=key, hungry=hungry)
    ends = [scene.start(injected=injected, **settings).wait()]
    while ends[-1] and len(ends) < 20:
        scene.faulted()
        ends.append(scene.start(injected=injected, **settings).wait())
    return ends


def test_record_that_kills_its_worker_fails_alone(set_up: Callable[[float], Stage]) -> None:
    stage, key, total = set_up(LATENCY_S), "r000003", Account()
    prepared = stage.prepare(RECORDS, workers=WORKERS)

    for most in (1, 2, MAX_ATTEMPTS, 5):
        scene = stage.scene(prepared)
        ends = eaten(scene, key, hungry=False, ORCHESTRATE_MAX_ATTEMPTS=str(most))

        # It is to blame once it was alone, and that is at its third death.
        assert ends == [-signal.SIGKILL] * max(most, 3) + [0]
        assert outcome(scene.database) == ([(key, "lost", max(most, 3))], RECORDS - 1)
        assert len(scene.rows(INNOCENT.format(key=key))) >= WORKERS - 1 + AHEAD, "nobody was claimed beside it"
        total.add(scene.account(failed=1))

    report.line("F13 poison: it kills its worker", *total.figures())
    assert (total.points, total.survived, total.lost, total.doubled) == (14, 14, 0, 0)
    assert max(total.repeated) <= WORKERS


def test_record_that_eats_memory_fails_alone(set_up: Callable[[float], Stage]) -> None:
    stage, key = set_up(LATENCY_S), "r000003"
    scene = stage.scene(stage.prepare(RECORDS, workers=WORKERS))

    assert eaten(scene, key, hungry=True) == [0]

    assert outcome(scene.database) == ([(key, "deterministic", 1)], RECORDS - 1)
    account = scene.account(1, failed=1)
    report.line("F13 poison: it eats the memory", *account.figures())
    assert account == Account(points=1, survived=1, verified=1)


def title_of(key: str) -> str:
    """The title of a record of the shipped sample."""
    records = map(json.loads, (ROOT / "prompts/posting/sample.jsonl").read_text().splitlines())
    return next(str(record["title"]) for record in records if record["id"] == key)


def place_at(home: Path, url: str) -> Workplace:
    settings = f'max_workers = {WORKERS}\nmax_attempts = {MAX_ATTEMPTS}\n[endpoints.gpu]\nbackend = "ollama"\n'
    return workplace(home, CAST, f'{settings}url = "{url}"\n', records=RECORDS)


def asked(server: OllamaStandIn) -> int:
    """Calls for a turn."""
    return sum(call.kind == "chat" for call in server.calls)


async def test_record_that_breaks_its_template_fails_alone(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[MODEL], slots=WORKERS, num_ctx=8192) as server:
        place = place_at(tmp_path / "place", server.url)
        prompts = tmp_path / "place/prompts/posting"
        prompts.mkdir(parents=True)
        for file in (ROOT / "prompts/posting").iterdir():
            (prompts / file.name).write_bytes(file.read_bytes())
        with (prompts / "record.md").open("a") as template:
            template.write(
                f"{{% if title == {title_of(POISON)!r} %}}{{{{ 1 // (title | length * 0) }}}}{{% endif %}}\n"
            )

        await run_here(place)

    assert outcome(place.config.database) == ([(POISON, "deterministic", 1)], RECORDS - 1)
    repeated = asked(server) - 3 * (RECORDS - 1)
    report.line("F13 poison: it breaks its template", 1, 1, 0, 0, repeated, repeated, 1)
    assert repeated == 0


async def test_record_whose_model_is_never_valid_fails_alone(tmp_path: Path) -> None:
    title, bad = title_of(POISON), 0

    def reply(body: dict[str, Any]) -> str:
        nonlocal bad
        if title not in json.dumps(body["messages"]):
            return default_reply(body)
        bad += 1
        return "I would rather not."

    async with OllamaStandIn(models=[MODEL], slots=WORKERS, num_ctx=8192, reply=reply) as server:
        place = place_at(tmp_path / "place", server.url)

        await run_here(place)

    assert outcome(place.config.database) == ([(POISON, "shape", 2)], RECORDS - 1)  # twice the same error is enough
    # The last reply is not asked for again; no other call is.
    repeated = asked(server) - 3 * (RECORDS - 1) - 1
    report.line("F13 poison: its model is never valid", bad, bad, 0, 0, repeated, 1, 1)
    assert repeated == bad - 1
