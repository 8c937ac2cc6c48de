"""A plan by the command line: what it says before anything is measured, after a probe, and after a run."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import Role
from orchestrator.measures import LoadRate, TurnRate
from orchestrator.scheduler.liveness import alive
from orchestrator.store.tasks import SqlTaskStore
from tests.acceptance.places import SAMPLE, Place, chats, ollama

A, B = "qwen2.5:7b", "gemma2:9b"
CAST = {"advocate": A, "critic": B, "judge": A}
UNKNOWN = "unknown: nothing measured on this endpoint yet; run orchestrate plan --probe"
REPLICAS = '[endpoints.left]\nbackend = "rehearsal"\nmodels = ["rehearsal"]\n' * 2
MEASURED = {"turn_rates", "load_rates"}


@pytest.fixture
def ready(place: Place) -> Place:
    """A folder with the sample submitted; the rehearsal is to speak."""
    place.run("submit", SAMPLE, "--debate", "posting")
    return place


def tables(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    names = [name for (name,) in place.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: place.rows(f"SELECT * FROM {name}") for name in names}


def measured(place: Place, seconds: float) -> None:
    """Rates as a probe would have kept them: a turn of the rehearsal costs so many seconds, a load ten."""
    rates = [
        TurnRate(
            endpoint="rehearsal",
            model="rehearsal",
            model_digest="",
            options="context=8192",
            role=role,
            in_flight=4,
            turns=400,
            seconds=400 * seconds,
            squares=400 * seconds**2,
            prompt_tokens=400_000,
            cached_tokens=0,
            reply_tokens=40_000,
        )
        for role in Role
    ]
    load = LoadRate(endpoint="rehearsal", model="rehearsal", model_digest="", loads=2, seconds=20.0)
    store = SqlTaskStore(place.database)
    store.keep_rates(None, rates, [load], datetime.now(UTC))
    store.close()


def test_unmeasured_time_is_said_unknown(ready: Place) -> None:
    said, known = ready.run("plan", "--before", "07:30"), ready.json("plan", "--before", "07:30")

    assert UNKNOWN in said
    assert "time      unknown, as that of rehearsal" in said
    assert "unknown how many fit before" in said
    assert "no model was called, and nothing was stored" in said
    (endpoint,) = known["endpoints"]
    assert (endpoint["turns"], endpoint["loads"], endpoint["exact"], endpoint["order"]) == (126, 1, True, "depth")
    assert known["seconds"] is known["verdicts"] is known["ends_at"] is known["probe"] is endpoint["seconds"] is None


def test_plan_says_time_and_what_fits(ready: Place) -> None:
    measured(ready, 60.0)
    hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    said = " ".join(ready.run("plan", "--before", hour).split())
    known = ready.json("plan", "--before", hour)

    assert "time 2 h 6 min (1 h 55 min to 2 h 16 min)" in said
    assert "workers 4 turns 126 loads 1 time" in said
    assert "first verdict after 12 min " in said
    assert "rests on 1,200 turns with about 4 in flight" in said
    assert f"about {known['verdicts']} of 42 verdicts fit before" in said
    assert 15 <= known["verdicts"] <= 21
    lasts = datetime.fromisoformat(known["ends_at"]) - datetime.fromisoformat(known["begun_at"])
    assert lasts.total_seconds() == pytest.approx(known["seconds"]) == pytest.approx(7570)


def test_plan_holds_each_field_of_endpoint(ready: Place) -> None:
    measured(ready, 1.0)

    (endpoint,) = ready.json("plan", "--max-workers", "auto")["endpoints"]

    assert set(endpoint) == {
        *("endpoint", "backend", "answers", "models", "holds", "max_workers", "order", "wave_size", "why", "turns"),
        *("loads", "exact", "seconds", "low", "high", "first_verdict", "rests_on"),
    }
    assert endpoint["low"] < endpoint["seconds"] < endpoint["high"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--before", "soon"), "'soon' is no time: give one as 07:30 or as 2026-11-22T07:30"),
        (("--before", "2020-01-01"), "'2020-01-01' is over already"),
        (("--max-workers", "many"), "'many' is neither auto nor a number from 1 to 4096"),
        (("--max-workers", "0"), "'0' is neither auto nor a number from 1 to 4096"),
    ],
)
def test_wrong_options_are_said_in_words(ready: Place, words: tuple[str, ...], said: str) -> None:
    out = ready.run("plan", *words, code=2)

    assert said in " ".join(out.split())


def test_probe_stores_rates_and_nothing_else(ready: Place) -> None:
    before = tables(ready)

    known = ready.json("plan", "--probe")

    after = tables(ready)
    assert {name for name in after if after[name] != before[name]} == MEASURED
    assert (known["probe"]["records"], known["probe"]["turns"], known["probe"]["failed_attempts"]) == (5, 15, 0)
    assert known["seconds"] > 0
    assert known["tasks"] == 42
    assert ready.rows("SELECT DISTINCT run_id, endpoint FROM turn_rates") == [(None, "rehearsal")]


def test_probe_takes_what_there_is(place: Place) -> None:
    place.run("submit", place.records(2), "--debate", "posting")

    said = place.run("plan", "--probe")

    assert said.startswith("probe: 2 records, 6 turns in ")
    assert "of the probe nothing was stored but what its turns and loads took" in said


def test_probe_fills_the_workers_there_are(ready: Place) -> None:
    known = ready.json("plan", "--probe", "--max-workers", "16")

    assert known["probe"]["records"] == 20
    assert known["seconds"] is not None


def test_probe_without_records_is_refused(ready: Place) -> None:
    ready.run("process-pending")

    for words in (("plan", "--probe"), ("plan", "--probe", "--debate", "posting")):
        assert "nothing is pending, so there is nothing to probe with" in ready.run(*words, code=1)


def test_probe_beside_a_run_is_refused(ready: Place) -> None:
    with alive(ready.database):
        out = ready.run("plan", "--probe", code=1)

    assert "a run is speaking on this database" in out
    assert ready.rows("SELECT count(*) FROM turn_rates") == [(0,)]


def test_probe_that_hears_nothing_says_so(place: Place) -> None:
    place.cards(dict.fromkeys(CAST, "rehearsal"), reply_limit=16)
    place.run("submit", SAMPLE, "--debate", "posting")

    out = place.run("plan", "--probe", code=1)

    assert "no turn went well, so nothing was measured" in out


@pytest.mark.slow
def test_interrupted_probe_stores_nothing(place: Place, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with ollama(calls, [A, B], slots=4, latency=0.3, num_ctx=8192) as url:
        place.cards(CAST)
        place.settings(f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\nslots = 4\n')
        place.run("submit", SAMPLE, "--debate", "posting")
        probing = place.start("plan", "--probe")
        while not calls.exists() or not chats(calls):
            assert probing.poll() is None, probing.communicate()
            time.sleep(0.05)
        probing.send_signal(signal.SIGINT)
        probing.communicate(timeout=30)

    assert probing.returncode == 130
    assert place.rows("SELECT count(*) FROM turn_rates") == [(0,)]


def test_each_replica_gets_its_share(place: Place) -> None:
    place.settings("max_workers = 1\n" + REPLICAS.replace("left", "right", 1))
    place.run("submit", SAMPLE, "--debate", "posting")

    known = place.json("plan", "--probe")

    assert place.rows("SELECT DISTINCT endpoint FROM turn_rates ORDER BY 1") == [("left",), ("right",)]
    assert sum(endpoint["turns"] for endpoint in known["endpoints"]) == 126
    assert all(endpoint["seconds"] for endpoint in known["endpoints"])


def test_replica_that_is_down_gets_no_turns(place: Place, tmp_path: Path) -> None:
    with ollama(tmp_path / "calls", [A], slots=4, num_ctx=8192) as url:
        place.cards(dict.fromkeys(CAST, A))
        table = f'backend = "ollama"\nmodels = ["{A}"]\nslots = 4\nurl ='
        place.settings(f'[endpoints.up]\n{table} "{url}"\n[endpoints.down]\n{table} "http://127.0.0.1:9"\n')
        place.run("submit", SAMPLE, "--debate", "posting")

        said, known = " ".join(place.run("plan").split()), place.json("plan")
        end = place.json("process-pending")

    found = {each["endpoint"]: (each["answers"], each["turns"], each["loads"]) for each in known["endpoints"]}
    assert found == {"up": (True, 126, 1), "down": (False, 0, 0)}
    assert "down (ollama): qwen2.5:7b server does not answer: the others take its turns; orchestrate doctor" in said
    actual = {each["endpoint"]: each["actual"]["turns"] for each in end["comparisons"]}
    assert (end["done"], actual) == (42, {"": 126, "up": 126, "down": 0})


@pytest.mark.slow
@pytest.mark.parametrize(("general", "loads"), [("", 3), ("wave_size = 16", 7)])
def test_run_keeps_to_probed_plan(place: Place, tmp_path: Path, general: str, loads: int) -> None:
    with ollama(tmp_path / "calls", [A, B], slots=4, load=0.3, latency=0.1, num_ctx=8192) as url:
        place.cards(CAST)
        place.settings(f'{general}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\nslots = 4\n')
        place.run("submit", SAMPLE, "--debate", "posting")

        (endpoint,) = place.json("plan", "--probe")["endpoints"]
        end = place.json("process-pending")

    (whole, _) = end["comparisons"]
    assert (endpoint["loads"], endpoint["exact"], endpoint["order"]) == (loads, True, "waves")
    assert whole["predicted"]["loads"] == whole["actual"]["loads"] == end["swaps"] == loads
    assert whole["predicted"]["turns"] == whole["actual"]["turns"] == 126
    assert whole["actual"]["seconds"] == pytest.approx(whole["predicted"]["seconds"], rel=0.5)


def test_run_says_what_was_predicted(ready: Place) -> None:
    first = ready.run("process-pending", "--max-tasks", "20")
    measured(ready, 60.0)
    second = ready.run("process-pending")

    assert "predicted 60 turns, 1 load, time unknown; actual 60 turns, 1 load, " in first
    assert "predicted 66 turns, 1 load, " in second
    assert "; actual 66 turns, 1 load, " in second


def test_status_compares_the_newest_runs(ready: Place) -> None:
    measured(ready, 60.0)
    ready.run("process-pending", "--max-tasks", "20")
    ready.run("process-pending")

    said, known = ready.run("status"), ready.json("status")

    assert "run 1: predicted 60 turns, 1 load, 1 h; actual 60 turns, 1 load, " in said
    assert "run 2: predicted 66 turns, 1 load, " in said
    whole = [each for each in known["comparisons"] if not each["endpoint"]]
    assert [(each["run_id"], each["actual"]["turns"]) for each in whole] == [(2, 66), (1, 60)]
    assert [each["endpoint"] for each in known["comparisons"]] == ["", "rehearsal", "", "rehearsal"]


def test_status_without_predictions_stays_silent(ready: Place) -> None:
    ready.run("process-pending", "--max-tasks", "1")
    with closing(sqlite3.connect(ready.database)) as database, database:
        database.execute("DELETE FROM predictions")

    assert "predicted" not in ready.run("status")
    assert ready.json("status")["comparisons"] == []


@pytest.mark.parametrize(
    ("order", "wave_size", "said"),
    [("waves", 64, "order waves of 64 because"), ("depth", 4, "order depth first, 4 at a time because")],
)
def test_order_is_said_where_models_take_turns(place: Place, order: str, wave_size: int, said: str) -> None:
    place.cards({"advocate": "rehearsal-a", "critic": "rehearsal-b", "judge": "rehearsal-a"})
    place.settings(f'order = "{order}"\n[endpoints.one]\nbackend = "rehearsal"\nholds = 1\n')
    place.run("submit", SAMPLE, "--debate", "posting")

    shown = " ".join(place.run("plan").split())
    (endpoint,) = place.json("plan")["endpoints"]

    assert said in shown
    assert (endpoint["order"], endpoint["wave_size"]) == (order, wave_size)


def ended_by(place: Place, number: signal.Signals) -> str:
    """What a run says that a signal ends after its first turns."""
    before = place.rows("SELECT count(*) FROM turns")
    running = place.start("process-pending")
    while place.rows("SELECT count(*) FROM turns") == before:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(number)
    return running.communicate(timeout=30)[0]


@pytest.mark.slow
def test_early_end_is_no_missed_prediction(place: Place, tmp_path: Path) -> None:
    with ollama(tmp_path / "calls", [A, B], slots=4, latency=0.1, num_ctx=8192) as url:
        place.cards(CAST)
        place.settings(f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\nslots = 4\n')
        place.run("submit", SAMPLE, "--debate", "posting")

        said = ended_by(place, signal.SIGINT)
        ended_by(place, signal.SIGKILL)
        shown, known = place.run("status"), place.json("status")

    turns = dict(place.rows("SELECT run_id, count(*) FROM turns GROUP BY 1"))
    assert place.rows("SELECT status FROM runs ORDER BY id") == [("interrupted",), ("running",)]
    assert f": done {turns[1]} of 126 turns, 1 of 3 loads" in said
    assert "run 1: ended early (interrupted) after " in shown
    assert f"run 2: ended early (lost): done {turns[2]} of {126 - turns[1]} turns, " in shown
    assert "actual" not in said + shown
    assert [each["status"] for each in known["comparisons"]] == ["lost", "lost", "interrupted", "interrupted"]
