"""What was said is read once more, by the debate's own reader: what does not come out the same was altered."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.app.verifying import look_over
from orchestrator.app.workplace import Workplace
from orchestrator.store.verify import Breach, Verified
from tests.integration.places import run_here, workplace

CAST = dict.fromkeys(("advocate", "critic", "judge"), "rehearsal")
RECORDS = 4
# The first debate in which all three have spoken.
FIRST = "task_id = (SELECT min(task_id) FROM turns WHERE role = 'critic')"
FIRST_TURN = f"{FIRST} AND role = 'advocate'"
BOTH = "text = json_set(text, '$.{0}', {1}), reply = json_set(reply, '$.{0}', {1})"
YES = BOTH.format("suggested_score", "json('true')")
FENCE = "text = '```json' || char(10) || text || char(10) || '```'"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = workplace(tmp_path_factory.mktemp("said") / "night", CAST, "", records=RECORDS)
    asyncio.run(run_here(place))
    return place


@pytest.fixture
def altered(night: Workplace, tmp_path: Path) -> Path:
    return Path(shutil.copy(night.config.database, tmp_path / "altered.db"))


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0


def known(night: Workplace, path: Path) -> Verified:
    return look_over(path, [night.debate("posting")])


def named(found: Verified, promise: str, said: str) -> list[Breach]:
    return [each for each in found.breaches if each.promise == promise and said in each.what and each.mend]


def test_everything_comes_out_as_stored(night: Workplace) -> None:
    path = night.config.database

    for found, unknown in ((known(night, path), 0), (look_over(path, []), RECORDS)):
        assert found.breaches == ()
        assert (found.tasks, found.verdicts, found.unknown) == (RECORDS, RECORDS, unknown)
        assert found.turns > 2 * RECORDS


@pytest.mark.parametrize(
    ("statement", "promise", "said", "if_unknown"),
    [
        (f"UPDATE turns SET text = '{{}}' WHERE {FIRST_TURN}", "P1", "text cannot be read: the reply has", "text says"),
        (f"UPDATE turns SET text = text || text WHERE {FIRST_TURN}", "P1", "it holds more than one object", "than one"),
        (
            f"UPDATE turns SET reply = json_set(reply, '$.suggested_score', 11) WHERE {FIRST_TURN}",
            "P1",
            "d_score",
            "d_",
        ),
        (f"UPDATE turns SET {BOTH.format('suggested_score', 11)} WHERE {FIRST_TURN}", "P1", "has the wrong shape", ""),
        (f"UPDATE turns SET {YES} WHERE {FIRST_TURN}", "P1", "has the wrong shape", ""),
        (f"UPDATE turns SET marks = 'prose' WHERE {FIRST_TURN}", "P1", "marked as prose, and its text came bare", ""),
        (
            f"UPDATE turns SET {BOTH.format('verdict_side', 1)} WHERE {FIRST} AND role = 'judge'",
            "P1",
            "shape",
            "its judge said 1",
        ),
        (f"UPDATE verdicts SET label = 'maybe' WHERE {FIRST}", "P4", " maybe, and ", "label is maybe, its judge said"),
        (f"UPDATE verdicts SET flags = 'outside' WHERE {FIRST} AND flags = ''", "P4", "(outside), and ", ""),
        (f"UPDATE verdicts SET score = score + 1 WHERE {FIRST}", "P4", " follows from what was said", "its judge said"),
    ],
)
def test_what_was_altered_is_found(
    night: Workplace, altered: Path, statement: str, promise: str, said: str, if_unknown: str
) -> None:
    alter(altered, statement)

    assert named(known(night, altered), promise, said)
    found = look_over(altered, []).breaches
    assert [each for each in found if if_unknown in each.what] if if_unknown else found == ()


@pytest.mark.parametrize("marks", ["fenced", ""], ids=["marked", "of a version without marks"])
def test_wrapped_reply_is_what_was_said(night: Workplace, altered: Path, marks: str) -> None:
    alter(altered, f"UPDATE turns SET {FENCE}, marks = '{marks}'")

    assert known(night, altered).ok
    assert look_over(altered, []).ok


def test_altered_record_says_what_to_do(night: Workplace, altered: Path) -> None:
    alter(altered, "UPDATE jobs SET payload = json_set(payload, '$.title', 'Another') WHERE id = 2")

    (breach,) = known(night, altered).breaches
    assert (breach.promise, breach.task_id) == ("P1", None)
    assert breach.what == "record posting-002 of posting, revision 1: its payload and its payload's hash differ"
    assert breach.mend.startswith("restore a copy of the database, or submit")


def test_many_breaches_are_cut_off(night: Workplace, altered: Path) -> None:
    rows = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
    alter(
        altered,
        "INSERT INTO jobs (source, key, revision, payload, payload_hash, created_at) "
        f"{rows} SELECT 'more', i, 1, '{{}}', '', '2026-11-21T10:50:00.000000Z' FROM n",
    )

    assert len(known(night, altered).breaches) == 1000
