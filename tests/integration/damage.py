"""A database with something in every table, and ways to damage it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from orchestrator.app.workplace import Workplace
from orchestrator.domain import Digest, RunId, Step, Swap
from orchestrator.errors import ErrorClass, Guard
from orchestrator.store.tasks import SqlTaskStore
from tests.integration.places import run_here, workplace
from tests.store_rows import at, begin, claim_one, failed, load_rate, prediction, turn_rate

NAME = "rehearsal"  # of the model and of the endpoint
CAST = dict.fromkeys(("advocate", "critic", "judge"), NAME)
SECTOR = 512
ODD: tuple[object, ...] = (
    *(None, "", "no", "{", "[]", "{}", "[1]", '"a"', "null", 0, -1, 7, 1 << 62, 2.5, 1e308, float("inf")),
    *(
        b"",
        b"\xff\x00",
        "gilded",
        "2026-13-01",
        "0001-01-01T00:00:00.000000Z",
        "2026-11-21",
        "../../x\x00y",
        "x" * 5000,
    ),
)
_WRAPPED = """UPDATE turns SET marks = 'fenced, prose', text = 'Here it is: ```json ' || text || ' ```'
    WHERE task_id = (SELECT task_id FROM verdicts WHERE id = 2)"""
_OTHER_SCORES = """WITH far(task_id, score) AS (SELECT task_id, iif(score < 10, 10, 0) FROM verdicts WHERE id = 1)
    UPDATE turns SET text = json_set(text, '$.suggested_score', score),
        reply = json_set(reply, '$.suggested_score', score)
    FROM far WHERE far.task_id = turns.task_id AND role <> 'judge'"""
_TABLES = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
# Every filling gives the same bytes, so that a seed gives the same damage.
_SAME_TIME = "UPDATE {0} SET {1} = '2026-11-21T10:50:00.000000Z' WHERE {1} GLOB '20[0-9][0-9]-[0-9][0-9]-*T*Z'"
_REQUIRED = re.compile("(?<! IS) NOT NULL")
NO_TEXT = "CAST(x'c328' AS TEXT)"  # bytes that are no UTF-8, in a text all the same


def filled(home: Path) -> Workplace:
    """A folder with tasks in every state, a run that goes on, failures, flags, marks, loads and measurements."""
    place = workplace(home, CAST, "max_workers = 1\n", records=12)
    asyncio.run(run_here(place, max_tasks=5))
    debate = place.debate("posting")
    with place.store() as store:
        now = at(0)
        run_id = begin(store, "first.lock")
        _fail(store, run_id, debate.digest, debate.first)
        store.cancel(now, keys=["posting-012"])
        store.keep_predictions(run_id, [prediction(), prediction(NAME)])
        store.keep_rates(run_id, [turn_rate(endpoint=NAME, model=NAME)], [load_rate(endpoint=NAME, model=NAME)], now)
        store.keep_swap(run_id, Swap(endpoint=NAME, unloaded=(NAME,), loaded=NAME, seconds=1.5, at=now))
        store.begin_swap(run_id, store.resident(NAME, now), now, now)
    with closing(sqlite3.connect(place.config.database, isolation_level=None)) as connection:
        connection.execute(_WRAPPED)
        connection.execute(_OTHER_SCORES)
        connection.execute("UPDATE verdicts SET flags = 'outside' WHERE id = 1")
        connection.execute("UPDATE runs SET host = 'here', pid = 1")
        for table, _ in _asked(place.config.database, _TABLES):
            for column in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
                connection.execute(_SAME_TIME.format(table, column))
                connection.execute(f"UPDATE {table} SET {column} = 1.5 WHERE typeof({column}) = 'real'")
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
    return place


def _fail(store: SqlTaskStore, run_id: RunId, digest: Digest, step: Step) -> None:
    """Three failed attempts, two of them for good, and one task under lease."""
    asked = {"digest": digest, "model": step.model, "endpoint": NAME}
    store.fail(failed(claim_one(store, run_id, **asked), at(60)), at(0))
    store.fail(failed(claim_one(store, run_id, **asked)), at(0))
    store.fail(failed(claim_one(store, run_id, **asked), error_class=ErrorClass.SHAPE, guard=Guard.SHAPE), at(0))
    claim_one(store, run_id, **asked)


def bytes_changed(content: bytes, chance: Random) -> bytes:
    """The file with a few bytes flipped, or torn off, or a sector empty."""
    match chance.choice(("flipped", "flipped", "flipped", "torn", "emptied")):
        case "torn":
            return content[: chance.randrange(len(content))]
        case "emptied":
            start = chance.randrange(0, len(content), SECTOR)
            return content[:start] + bytes(SECTOR) + content[start + SECTOR :]
        case _:
            found = bytearray(content)
            for _ in range(chance.choice((1, 4, 16))):
                found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
            return bytes(found)


def value_changed(path: Path, chance: Random) -> str:
    """Put something odd in one column of some rows, past every constraint; says what and where."""
    tables = [(name, sql) for name, sql in _asked(path, _TABLES) if _asked(path, f"SELECT 1 FROM {name} LIMIT 1")]
    table, definition = chance.choice(tables)
    column = chance.choice(
        [row[1] for row in _asked(path, f"PRAGMA table_info({table})") if not (row[5] and row[2] == "INTEGER")]
    )
    odd, where = chance.choice((*ODD, NO_TEXT)), chance.choice(("rowid = 1", "rowid % 2", "1"))
    value, given = (odd, ()) if odd is NO_TEXT else ("?", (odd,))
    _define(path, table, _REQUIRED.sub("", definition))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {where}", given)
    _define(path, table, definition)
    return f"{table}.{column} = {odd!r:.40} WHERE {where}"


def _asked(path: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def _define(path: Path, table: str, sql: str) -> None:
    """Say what a table is, without a look at what it holds; whoever opens the file next believes it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, table))
