"""The main job by the command line, on the embedded default: from a file of records to a file of verdicts."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.acceptance.places import SAMPLE, Place


@pytest.fixture
def ready(place: Place) -> Place:
    """A folder with the sample submitted."""
    place.run("init")
    place.run("submit", "prompts/posting/sample.jsonl", "--debate", "posting")
    return place


def test_init_submit_run_export(place: Place) -> None:
    place.run("init")
    place.run("submit", "prompts/posting/sample.jsonl", "--debate", "posting")
    end = place.json("process-pending", "--max-workers", "1")
    place.run("export", "verdicts.csv")

    with (place.home / "verdicts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (end["status"], end["done"], end["left"]) == ("done", 42, 0)
    assert len(rows) == 42
    assert {row["backends"] for row in rows} == {"rehearsal"}
    assert all(0 <= int(row["score"]) <= 10 and row["label"] for row in rows)


def test_both_debates_share_one_database(ready: Place) -> None:
    ready.run("submit", "prompts/candidate/sample.jsonl", "--debate", "candidate")

    end = ready.json("process-pending")

    assert end["done"] == 84
    assert ready.rows("SELECT debate, count(*) FROM tasks WHERE status = 'done' GROUP BY 1") == [
        ("candidate", 42),
        ("posting", 42),
    ]


def test_third_debate_needs_no_python(ready: Place) -> None:
    folder = ready.home / "prompts/mine"
    (ready.home / "prompts/posting").rename(folder)

    ready.run("submit", "prompts/mine/sample.jsonl", "--debate", "mine")
    end = ready.json("process-pending", "--debate", "mine")

    assert end["done"] == 42


@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("process-pending", "--dry-run", "--limit", "2")])
def test_looking_leaves_every_table_alone(ready: Place, words: tuple[str, ...]) -> None:
    ready.run("process-pending", "--max-tasks", "5")
    before = ready.dump()

    ready.run(*words)

    assert ready.dump() == before


def test_dry_run_shows_prompt_and_reply(ready: Place) -> None:
    shown = ready.run("process-pending", "--dry-run", "--limit", "1")
    lines = ready.run("process-pending", "--dry-run", "--limit", "1", "--json").splitlines()
    turns = [json.loads(line) for line in lines]

    assert all(words in shown for words in ("<<<RECORD ", "verdict_score", "nothing was stored"))
    assert [turn["turn"]["role"] for turn in turns] == ["advocate", "critic", "judge"]
    assert turns[0]["turn"]["usage"]["prompt_tokens"] > 100
    assert ready.rows("SELECT count(*) FROM turns") == [(0,)]


def test_same_command_goes_on(ready: Place) -> None:
    first = ready.json("process-pending", "--max-tasks", "10")
    second = ready.json("process-pending")
    third = ready.json("process-pending")

    assert [(end["done"], end["left"]) for end in (first, second, third)] == [(10, 32), (32, 0), (0, 0)]


def test_changed_prompt_replaces_pending_tasks(ready: Place) -> None:
    ready.run("process-pending", "--max-tasks", "2")
    judge = ready.home / "prompts/posting/judge.md"
    judge.write_text(judge.read_text() + "\nBe brief.\n")

    planned = ready.json("plan")
    end = ready.json("process-pending")

    assert planned["superseded"] == end["superseded"] == end["done"] == 40
    assert ready.rows("SELECT status, count(*) FROM tasks GROUP BY 1 ORDER BY 1") == [("done", 42), ("superseded", 40)]
    assert ready.rows("SELECT count(DISTINCT digest) FROM tasks WHERE status = 'done'") == [(2,)]


def test_export_writes_all_three_formats(ready: Place) -> None:
    ready.run("process-pending", "--max-tasks", "3")

    for name in ("v.jsonl", "v.csv", "v.parquet"):
        assert ready.json("export", name)["rows"] == 42
    lines = [json.loads(line) for line in (ready.home / "v.jsonl").read_text().splitlines()]
    table = pq.read_table(ready.home / "v.parquet")

    assert sum(line["score"] is not None for line in lines) == 3
    assert table.num_rows == 42
    assert table.column("score").null_count == 39
    assert ready.run("export", "-").count("\n") == 42
    assert "--force" in ready.run("export", "v.csv", code=1)


def test_show_holds_turns_and_quotes(ready: Place) -> None:
    ready.run("process-pending")

    (detail,) = ready.json("show", "posting-003")
    table = ready.run("show", "--limit", "5")

    assert [turn["role"] for turn in detail["turns"]] == ["advocate", "critic", "judge"]
    assert all(quote["verified"] for turn in detail["turns"] for quote in turn["quotes"])
    assert detail["verdict"]["score"] == detail["turns"][-1]["reply"]["verdict_score"]
    assert table.count("posting-0") == 5
    assert "no record has the key" in ready.run("show", "nobody", code=1)


def test_cancel_and_retry_move_tasks(ready: Place) -> None:
    cancelled = ready.json("cancel", "--key", "posting-001", "--key", "posting-002")
    ready.run("process-pending")
    back = ready.json("retry", "--key", "posting-001")

    assert (cancelled["tasks"], back["tasks"]) == (2, 1)
    assert ready.rows("SELECT status, count(*) FROM tasks GROUP BY 1 ORDER BY 1") == [
        ("cancelled", 1),
        ("done", 40),
        ("pending", 1),
    ]
    assert "say which" in ready.run("cancel", code=2)


def test_cut_replies_fail_with_their_class(place: Place) -> None:
    place.cards({"advocate": "rehearsal", "critic": "rehearsal", "judge": "rehearsal"}, reply_limit=16)
    place.run("submit", SAMPLE, "--debate", "posting")

    out = place.run("process-pending", code=1)
    found = place.json("errors", "--class", "overflow")

    assert "0 done, 42 failed" in out
    assert [(count["error_class"], count["tasks"]) for count in found["counts"]] == [("overflow", 42)]
    assert "reply_limit" in found["newest"][0]["error"]
    assert place.json("retry", "--class", "overflow")["tasks"] == 42


def test_doctor_and_db_check_are_well(ready: Place) -> None:
    findings = ready.json("doctor")

    assert {finding["health"] for finding in findings} <= {"good", "note"}
    assert any(finding["about"] == "debate posting" for finding in findings)
    assert ready.json("db", "check")["ok"]
    assert not ready.json("db", "upgrade")["changed"]


def test_files_are_for_their_owner(ready: Place) -> None:
    ready.run("process-pending", "--max-tasks", "1")

    assert stat.S_IMODE(ready.database.stat().st_mode) == 0o600
    assert not list(ready.home.glob(".*.lock"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("process-pending",), "submit records first"),
        (("status",), "submit records first"),
        (("submit", "nothing.jsonl", "--debate", "posting"), "nothing.jsonl"),
        (("submit", SAMPLE, "--debate", "postings"), "there is no debate 'postings'"),
        (("--home", "nowhere", "status"), "nowhere"),
    ],
)
def test_mistakes_are_said_in_one_line(place: Place, words: tuple[str | Path, ...], said: str) -> None:
    out = place.run(*words, code=2 if "nowhere" in words else 1)

    assert said in out
    assert "Traceback" not in out
    assert not place.database.exists()


def test_missing_model_is_said_before_anything(place: Place) -> None:
    place.cards({"advocate": "qwen2.5:7b", "critic": "rehearsal", "judge": "rehearsal"})
    place.run("submit", SAMPLE, "--debate", "posting")

    out = place.run("process-pending", code=1)

    assert "no endpoint serves the model 'qwen2.5:7b' of actors/advocate.toml" in out
    assert place.rows("SELECT count(*) FROM runs") == [(0,)]


def test_each_endpoint_speaks_its_models(place: Place) -> None:
    place.cards({"advocate": "rehearsal-a", "critic": "rehearsal-b", "judge": "rehearsal-a"})
    tables = [f'[endpoints.{name}]\nbackend = "rehearsal"\nmodels = ["rehearsal-{name}"]\n' for name in ("a", "b")]
    place.settings("".join(tables))
    place.run("submit", SAMPLE, "--debate", "posting")

    first = place.json("process-pending", "--endpoint", "a")
    second = place.json("process-pending")

    assert (first["turns"], first["done"], first["left"]) == (42, 0, 42)
    assert (second["turns"], second["done"], second["left"]) == (84, 42, 0)
    assert place.rows("SELECT endpoint, model, count(*) FROM turns GROUP BY 1, 2 ORDER BY 1") == [
        ("a", "rehearsal-a", 84),
        ("b", "rehearsal-b", 42),
    ]
