"""A database that was tampered with is found out, promise by promise; one that is whole is not."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.cli import verified
from orchestrator.debate.rereading import Rereading
from orchestrator.domain import Digest, Step, Turn
from orchestrator.errors import StoreError
from orchestrator.store.tasks import SqlTaskStore
from orchestrator.store.verify import Breach, Follows, Verified, verify
from tests.store_rows import (
    DIGEST,
    FIRST,
    LAST,
    SECOND,
    VERDICT,
    at,
    begin,
    claim_one,
    drafts,
    empty_database,
    failed,
    spoken,
    submission,
    turn,
)

SAID = {"analysis": "so", "evidence": [], "verdict_score": VERDICT.score}
JUDGED = turn(LAST, text=json.dumps(SAID), reply=SAID, quotes=())
REPLY = "UPDATE turns SET reply = {} WHERE task_id = 2"
UNIQUE = re.compile(r",\s*CONSTRAINT uq_\w+ UNIQUE \([^)]*\)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Tasks 1 to 5: done, spoken once and waiting, failed, under lease, fresh."""
    path = empty_database(tmp_path / "tasks.db")
    with closing(SqlTaskStore(path, synchronous="NORMAL")) as store:
        store.submit(submission(), drafts("done", "begun", "failed", "held", "fresh"), at(0))
        run_id = begin(store)
        done = claim_one(store, run_id)
        store.record(spoken(done, then=SECOND, hold=True), at(3))
        store.record(spoken(done, SECOND, then=LAST, hold=True), at(6))
        store.record(spoken(done, LAST, turn=JUDGED, verdict=VERDICT), at(9))
        store.record(spoken(claim_one(store, run_id)), at(9))
        store.fail(failed(claim_one(store, run_id)), at(9))
        claim_one(store, run_id)
    return path


def tamper(path: Path, *statements: str) -> None:
    """Write what no constraint would let through."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for table in ("turns", "verdicts"):
            (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            connection.execute(f"CREATE TEMP TABLE kept_{table} AS SELECT * FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(UNIQUE.sub("", sql))
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        for statement in statements:
            connection.execute(statement)


def in_order(turns: Sequence[Turn]) -> Step | None:
    """Who speaks next in a debate of one round."""
    return {0: FIRST, 1: SECOND, 2: LAST}.get(len(turns))


def look(path: Path, follows: Mapping[Digest, Follows] | None = None) -> Verified:
    """Verify, with the order of one debate known and no form of a reply."""
    return verify(path, {DIGEST: in_order} if follows is None else follows, lambda _digest: Rereading(None))


def broken(path: Path) -> list[Breach]:
    return list(look(path).breaches)


def copied(table: str, task_id: int, spoken_by: str, **changes: object) -> str:
    """Insert a copy of one of task 1's rows under another task."""
    names = {
        "turns": "run_id, token, role, round, model, backend, endpoint, quotes_total, quotes_verified, prompt_hash, "
        "asks, attempt, total_s, started_at, finished_at, text, reply, quotes",
        "attempts": "run_id, token, role, round, model, attempt, endpoint, error_class, error, reply, "
        "started_at, finished_at",
    }[table]
    values = ", ".join(repr(changes.get(name, "")) if name in changes else name for name in names.split(", "))
    source = f"role = '{spoken_by}' AND task_id = 1" if table == "turns" else "task_id = 3"
    return f"INSERT INTO {table} (task_id, {names}) SELECT {task_id}, {values} FROM {table} WHERE {source}"


def test_whole_database_keeps_every_promise(path: Path) -> None:
    found = look(path)

    assert found == Verified(path=path, tasks=5, turns=4, verdicts=1, unknown=0, breaches=())


def test_taking_constraints_away_breaks_nothing(path: Path) -> None:
    tamper(path)

    assert broken(path) == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("statement", "task_id", "promise", "said"),
    [
        (copied("turns", 1, "advocate"), 1, "P1", "advocate 1 (qwen) was spoken twice"),
        ("DELETE FROM turns WHERE task_id = 1 AND role = 'critic'", 1, "P1", "judge 1 (qwen) was spoken out"),
        (copied("turns", 5, "critic", token=0), 5, "P1", "critic 1 (gemma) was spoken out of its order"),
        ("DELETE FROM turns WHERE task_id = 2", 2, "P1", "has 0 turns and is marked as begun"),
        ("UPDATE tasks SET next_role = 'advocate' WHERE id = 2", 2, "P1", "waits for advocate 1"),
        ("UPDATE tasks SET next_round = 2 WHERE id = 5", 5, "P1", "waits for advocate 2"),
        ("UPDATE turns SET prompt_hash = 'none' WHERE task_id = 2", 2, "P1", "hash is no SHA-256"),
        ("UPDATE turns SET reply = '{' WHERE task_id = 2", 2, "P1", "its reply or its quotes are no JSON"),
        ("UPDATE tasks SET next_model = 'other' WHERE id = 5", None, "P1", "the advocate speaks with"),
        ("UPDATE tasks SET debate = 'other' WHERE id = 5", None, "P1", "belongs to the debates"),
        (
            "INSERT INTO verdicts SELECT 9, task_id, score, label, turn_id, created_at, flags FROM verdicts",
            1,
            "P4",
            "2 verd",
        ),
        ("DELETE FROM verdicts", 1, "P4", "is done without a verdict"),
        ("DELETE FROM verdicts", 1, "P4", "its judge has spoken, and there is no verdict"),
        ("UPDATE verdicts SET task_id = 2", 2, "P4", "has a verdict and is pending"),
        ("UPDATE verdicts SET turn_id = 1", 1, "P4", "refers to a turn that is not its judge's"),
        ("UPDATE verdicts SET score = 1", 1, "P4", "its verdict is 1, its judge said 7"),
        ("UPDATE turns SET token = 2 WHERE task_id = 2", 2, "P5", "a turn has claim number 2, the task only 1"),
        ("UPDATE turns SET token = 2 WHERE id = 1", 1, "P5", "a turn of claim 1 was stored after one of claim 2"),
        (copied("attempts", 1, "", role="judge"), 1, "P5", "one claim has both failed and spoken: judge 1"),
        (copied("attempts", 3, ""), 3, "P5", "one claim has failed 2 times"),
        (copied("attempts", 2, "", token=5), 2, "P5", "a failed attempt has claim number 5, the task only 1"),
        ("UPDATE runs SET status = 'done', ended_at = started_at", 4, "P5", "is held by run 1, which is done"),
        ("UPDATE tasks SET attempts = 2 WHERE id = 4", 4, "P3", "counts 2 tries after 1 claims"),
        ("DELETE FROM attempts", 3, "P3", "failed as transient without such an attempt"),
        ("DELETE FROM jobs WHERE id = 5", None, "file", "refers to a missing row of jobs"),
        ("UPDATE tasks SET fresh = 1 WHERE id = 2", 2, "P1", "has 1 turns and is marked as fresh"),
        (
            "UPDATE jobs SET payload = '{\"title\":1}' WHERE id = 2",
            None,
            "P1",
            "record begun of jobs.jsonl, revision 1: its",
        ),
        ("UPDATE jobs SET payload = '{' WHERE id = 2", None, "P1", "'{' is no JSON"),
        ("UPDATE jobs SET payload = '[]' WHERE id = 2", None, "P1", "'[]' is no JSON object"),
        ("UPDATE jobs SET payload_hash = '' WHERE id = 5", None, "P1", "its payload and its payload's hash differ"),
        ("UPDATE jobs SET payload = CAST(x'7b22c3227d' AS TEXT) WHERE id = 2", None, "P1", "is no JSON"),
        ("UPDATE turns SET text = 'no' WHERE task_id = 2", 2, "P1", "advocate 1 (qwen): its text cannot be read"),
        (REPLY.format('\'{"analysis":"bad","evidence":["a","b"]}\''), 2, "P1", "its text says: analysis"),
        (REPLY.format('\'{"evidence":["a","b"],"analysis":"good"}\''), 2, "P1", "says: the order of its fields"),
        (REPLY.format('\'{"evidence":["a","b"]}\''), 2, "P1", "not what its text says: analysis"),
        (REPLY.format("'[]'"), 2, "P1", "cannot be read: '[]' is no JSON object"),
        ("UPDATE turns SET quotes = '[]' WHERE task_id = 2", 2, "P1", "counts other quotes than it keeps"),
        ("UPDATE turns SET quotes = '[1, 2]' WHERE task_id = 2", 2, "P1", "is no list of quotes"),
        (
            "UPDATE turns SET quotes = replace(quotes, '\"a\"', '\"c\"') WHERE task_id = 2",
            2,
            "P1",
            "not the evidence of its",
        ),
        ("UPDATE turns SET text = CAST(X'80' AS TEXT) WHERE task_id = 2", 2, "P1", ""),
        ("UPDATE turns SET marks = 'gilded' WHERE task_id = 2", 2, "P1", "'gilded' is none of: fenced"),
        ("UPDATE turns SET started_at = 'today' WHERE task_id = 2", 2, "P1", "'today' is no time"),
        ("UPDATE turns SET total_s = 'long' WHERE task_id = 2", 2, "P1", "total s: 'long' is no number"),
        ("UPDATE verdicts SET flags = 'red'", 1, "P1", "its verdict cannot be read: 'red' is none of: outside"),
    ],
)
def test_each_breach_is_found(
    path: Path, statement: str, task_id: int | None, promise: str, said: str, known: bool
) -> None:
    tamper(path, statement)

    found = look(path, None if known else {}).breaches

    assert [each for each in found if (each.promise, each.task_id) == (promise, task_id) and said in each.what], found


def test_impossible_state_is_damage(path: Path) -> None:
    tamper(path, "PRAGMA ignore_check_constraints=ON", "UPDATE tasks SET next_role = NULL WHERE id = 5")

    assert {each.promise for each in broken(path)} == {"file"}


@pytest.mark.parametrize(
    ("follow", "breaches"), [({DIGEST: lambda turns: in_order(turns[:1])}, {1}), ({}, set())], ids=["known", "unknown"]
)
def test_known_debate_is_checked_exactly(path: Path, follow: dict[Digest, Follows], breaches: set[int]) -> None:
    found = look(path, follow)

    assert {each.task_id for each in found.breaches} == breaches
    assert found.unknown == (0 if follow else 5)


@pytest.mark.parametrize("known", [True, False])
def test_fallback_model_breaks_no_promise(path: Path, known: bool) -> None:
    tamper(path, "UPDATE turns SET model = 'smaller' WHERE id IN (1, 4)")

    assert look(path, None if known else {}).ok


def test_verifying_changes_nothing_beside_writer(path: Path) -> None:
    with closing(SqlTaskStore(path, synchronous="NORMAL")) as store:
        with store.batch():
            before = look(path, {})
            store.cancel(at(9), keys=["fresh"])
        after = look(path, {})

    assert before == after


@pytest.mark.parametrize("as_json", [True, False])
def test_breach_is_named_with_its_task(path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    tamper(path, "DELETE FROM verdicts")

    code = verified.shown(look(path), as_json)

    out, err = capsys.readouterr()
    assert code == 1
    if as_json:
        said = json.loads(out)
        assert not said["ok"]
        assert (said["tasks"], said["turns"], said["verdicts"]) == (5, 4, 0)
        assert {(each["task_id"], each["key"], each["promise"]) for each in said["breaches"]} == {(1, "done", "P4")}
    else:
        assert "P4: task 1 (done) is done without a verdict: a verdict is missing, or was never reached" in err
        assert "2 broken promises" in out


@pytest.mark.parametrize("as_json", [True, False])
def test_whole_database_is_said_whole(path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    code = verified.shown(look(path, {}), as_json)

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert (
        '"ok": true' in out
        if as_json
        else "every promise is kept" in out and "5 tasks of no debate in this folder" in out
    )


def test_no_database_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database at"):
        look(tmp_path / "none.db", {})
