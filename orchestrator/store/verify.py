"""Looks a whole database over for what must never be: lost, doubled or late turns and verdicts. Changes nothing.

The questions are SQL of their own and not those of the writer: what checks must not share the fault of what it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from orchestrator.domain import Digest, Role, Step, TaskId, Turn
from orchestrator.store import schema
from orchestrator.store.codec import json_text
from orchestrator.store.engine import reader_engine, said_in_words
from orchestrator.store.rows import TURNS, sound_turns

MOST_BREACHES = 1000
_TASKS_AT_ONCE = 500

# Who speaks after these turns under a digest; None after the last. Raises nothing for turns in a legal order.
Follows = Callable[[Sequence[Turn]], Step | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One broken promise. `task_id` is None, and `key` empty, where it is about no single task."""

    promise: str
    task_id: TaskId | None
    key: str
    what: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How much was looked at, and what is wrong; of very many breaches only the first MOST_BREACHES."""

    path: Path
    tasks: int
    turns: int
    verdicts: int
    unknown: int  # tasks whose digest none of the debates given has
    breaches: tuple[Breach, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.breaches


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A question that finds the tasks that break a promise: their number and what is wrong in a few words."""

    promise: str
    meaning: str
    sql: str


# What the other questions, and every reader, take for granted.
_UNREADABLE = (
    _Rule(
        promise="P1",
        meaning="what was said cannot be read any more",
        sql="""SELECT task_id, role || ' ' || round || ': its reply or its quotes are no JSON' FROM turns
            WHERE NOT json_valid(reply) OR NOT json_valid(quotes)""",
    ),
)
_RULES = (
    _Rule(
        promise="P4",
        meaning="a record would be counted twice",
        sql="SELECT task_id, count(*) || ' verdicts' FROM verdicts GROUP BY task_id HAVING count(*) > 1",
    ),
    _Rule(
        promise="P4",
        meaning="a verdict is missing, or was never reached",
        sql="""SELECT id, 'is done without a verdict' FROM tasks
            WHERE status = 'done' AND id NOT IN (SELECT task_id FROM verdicts)""",
    ),
    _Rule(
        promise="P4",
        meaning="it would be judged again",
        sql="""SELECT tasks.id, 'has a verdict and is ' || tasks.status FROM tasks
            JOIN verdicts ON verdicts.task_id = tasks.id WHERE tasks.status <> 'done'""",
    ),
    _Rule(
        promise="P4",
        meaning="the verdict cannot be traced to what was said",
        sql="""SELECT verdicts.task_id, 'its verdict refers to a turn that is not its judge''s' FROM verdicts
            LEFT JOIN turns ON turns.id = verdicts.turn_id AND turns.task_id = verdicts.task_id
            WHERE turns.role IS NOT 'judge'""",
    ),
    _Rule(
        promise="P4",
        meaning="the judge's turn was stored without its verdict",
        sql="""SELECT task_id, 'its judge has spoken, and there is no verdict from that turn' FROM turns
            WHERE role = 'judge' AND id NOT IN (SELECT turn_id FROM verdicts)""",
    ),
    _Rule(
        promise="P4",
        meaning="the verdict is not what the judge said",
        sql="""SELECT verdicts.task_id, 'its verdict is ' || verdicts.score || ', its judge said '
            || coalesce(json_extract(turns.reply, '$.verdict_score'), 'nothing') FROM verdicts
            JOIN turns ON turns.id = verdicts.turn_id
            WHERE json_extract(turns.reply, '$.verdict_score') IS NOT verdicts.score""",
    ),
    _Rule(
        promise="P5",
        meaning="a worker without the right to it has written",
        sql="""SELECT tasks.id, 'a turn has claim number ' || turns.token || ', the task only ' || tasks.token
            FROM turns JOIN tasks ON tasks.id = turns.task_id WHERE turns.token NOT BETWEEN 1 AND tasks.token""",
    ),
    _Rule(
        promise="P5",
        meaning="a worker whose lease had run out has written",
        sql="""SELECT task_id, 'a turn of claim ' || token || ' was stored after one of claim ' || earlier FROM (
            SELECT task_id, token, max(token) OVER (PARTITION BY task_id ORDER BY id) AS earlier FROM turns)
            WHERE token < earlier""",
    ),
    _Rule(
        promise="P5",
        meaning="two workers have written under one claim",
        sql="""SELECT tasks.id, 'one claim has both failed and spoken: ' || turns.role || ' ' || turns.round
            FROM turns JOIN tasks ON tasks.id = turns.task_id JOIN attempts ON attempts.task_id = turns.task_id
            AND attempts.token = turns.token AND attempts.role = turns.role AND attempts.round = turns.round""",
    ),
    _Rule(
        promise="P5",
        meaning="a worker without the right to it has written",
        sql="""SELECT tasks.id, 'a failed attempt has claim number ' || attempts.token || ', the task only '
            || tasks.token FROM attempts JOIN tasks ON tasks.id = attempts.task_id
            WHERE attempts.token NOT BETWEEN 1 AND tasks.token""",
    ),
    _Rule(
        promise="P5",
        meaning="two workers have written under one claim",
        sql="""SELECT task_id, 'one claim has failed ' || count(*) || ' times: ' || role || ' ' || round FROM attempts
            GROUP BY task_id, token, role, round HAVING count(*) > 1""",
    ),
    _Rule(
        promise="P5",
        meaning="it would wait for a worker that is gone until its lease runs out",
        sql="""SELECT tasks.id, 'is held by run ' || runs.id || ', which is ' || runs.status FROM tasks
            JOIN runs ON runs.id = tasks.run_id WHERE tasks.status = 'leased' AND runs.ended_at IS NOT NULL""",
    ),
    _Rule(
        promise="P3",
        meaning="tries are counted that were never made",
        sql="""SELECT id, 'counts ' || attempts || ' tries after ' || token || ' claims' FROM tasks
            WHERE attempts > token""",
    ),
    _Rule(
        promise="P3",
        meaning="nobody could say why it failed",
        sql="""SELECT id, 'failed as ' || error_class || ' without such an attempt' FROM tasks WHERE status = 'failed'
            AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.task_id = tasks.id
            AND attempts.token = tasks.token AND attempts.error_class = tasks.error_class)""",
    ),
    _Rule(
        promise="P1",
        meaning="what it was asked cannot be told",
        sql="""SELECT task_id, role || ' ' || round || ': its prompt''s hash is no SHA-256' FROM turns
            WHERE length(prompt_hash) <> 64 OR prompt_hash GLOB '*[^0-9a-f]*'""",
    ),
    _Rule(
        promise="P1",
        meaning="one digest means one definition",
        sql="""SELECT NULL, 'digest ' || digest || ' belongs to the debates ' || group_concat(DISTINCT debate)
            FROM tasks GROUP BY digest HAVING count(DISTINCT debate) > 1""",
    ),
    _Rule(
        promise="P1",
        meaning="one digest means one model for each role",
        sql="""SELECT NULL, 'under digest ' || digest || ' the ' || role || ' speaks with '
            || group_concat(DISTINCT model) FROM (
            SELECT digest, next_role AS role, next_model AS model FROM tasks WHERE next_role IS NOT NULL
            UNION SELECT digest, role, model FROM turns JOIN tasks ON tasks.id = turns.task_id)
            GROUP BY digest, role HAVING count(DISTINCT model) > 1""",
    ),
)
_STANDING = """SELECT tasks.id, jobs.key, tasks.digest, tasks.status, tasks.fresh,
    tasks.next_role, tasks.next_round, tasks.next_model
    FROM tasks LEFT JOIN jobs ON jobs.id = tasks.job_id WHERE tasks.id > ? ORDER BY tasks.id LIMIT ?"""
_KEY = "SELECT jobs.key FROM tasks JOIN jobs ON jobs.id = tasks.job_id WHERE tasks.id = ?"


def verify(path: Path, follows: Mapping[Digest, Follows]) -> Verified:
    """Check P1, P3, P4 and P5 on every task, in one snapshot, and the file as SQLite sees it.

    `follows` says who speaks next under each digest that is known. Under the others any order that some debate
    allows is taken for right. Raises StoreError.
    """
    unknown: list[int] = []
    with said_in_words(path), reader_engine(path).connect() as connection, connection.begin():
        breaches = tuple(islice(_broken(path, connection, follows, unknown), MOST_BREACHES))
        counts = [_count(connection, table) for table in ("tasks", "turns", "verdicts")]
    tasks, turns, verdicts = counts
    return Verified(path=path, tasks=tasks, turns=turns, verdicts=verdicts, unknown=sum(unknown), breaches=breaches)


def _broken(
    path: Path, connection: Connection, follows: Mapping[Digest, Follows], unknown: list[int]
) -> Iterator[Breach]:
    damage = [*_broken_file(path), *_broken_rules(connection, _UNREADABLE)]
    if damage:
        yield from damage
        return
    yield from _broken_rules(connection, _RULES)
    yield from _broken_order(connection, follows, unknown)


def _count(connection: Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608 -- one of three


def _broken_file(path: Path) -> Iterator[Breach]:
    for problem in schema.problems(path):
        yield Breach(promise="file", task_id=None, key="", what=problem, meaning="the file is damaged")


def _broken_rules(connection: Connection, rules: Iterable[_Rule]) -> Iterator[Breach]:
    for rule in rules:
        for task_id, what in connection.exec_driver_sql(rule.sql).all():
            key = connection.exec_driver_sql(_KEY, (task_id,)).scalar() or ""
            yield Breach(promise=rule.promise, task_id=task_id, key=key, what=what, meaning=rule.meaning)


def _broken_order(connection: Connection, follows: Mapping[Digest, Follows], unknown: list[int]) -> Iterator[Breach]:
    """The tasks whose turns, or whose next step, are not what follows from the turns before."""
    after = 0
    while rows := connection.exec_driver_sql(_STANDING, (after, _TASKS_AT_ONCE)).all():
        after = rows[-1].id
        unknown.append(sum(row.digest not in follows for row in rows))
        ids = TURNS.bind({"ids": json_text([row.id for row in rows])})
        spoken, damaged = sound_turns(connection.exec_driver_sql(TURNS.sql, ids).mappings())
        for row in rows:
            if row.id in damaged:
                problem: tuple[str, str] | None = str(damaged[row.id]), "what was said cannot be read any more"
            else:
                problem = _problem(row, spoken.get(row.id, ()), follows.get(row.digest))
            if problem is not None:
                what, meaning = problem
                yield Breach(promise="P1", task_id=TaskId(row.id), key=row.key or "", what=what, meaning=meaning)


def _problem(row: Row[Any], turns: tuple[Turn, ...], follow: Follows | None) -> tuple[str, str] | None:
    """What is wrong with a task's turns, if anything, and what that means."""
    said: set[tuple[Role, int]] = set()
    for place, turn in enumerate(turns):
        step = Step(role=turn.role, round=turn.round, model=turn.model)
        if (turn.role, turn.round) in said:
            return f"{_words(step)} was spoken twice", "a finished turn was asked for again"
        if not _may_follow(turns[:place], step, follow):
            return (
                f"{_words(step)} was spoken out of its order",
                "a turn before it was lost, or one too many was spoken",
            )
        said.add((turn.role, turn.round))
    if bool(row.fresh) != (not turns):
        return f"has {len(turns)} turns and is marked as {'fresh' if row.fresh else 'begun'}", "a turn was lost"
    over = bool(turns) and turns[-1].role is Role.JUDGE
    if over != (row.status == "done"):
        return f"is {row.status} after {len(turns)} turns", "its state and its turns were not stored together"
    if over:
        return None
    step = Step(role=Role(row.next_role), round=row.next_round, model=row.next_model)
    if _may_follow(turns, step, follow):
        return None
    return f"waits for {_words(step)}, which cannot follow from its turns", "its state and its turns disagree"


def _may_follow(turns: Sequence[Turn], step: Step, follow: Follows | None) -> bool:
    if follow is not None:
        return follow(turns) == step
    if not turns:
        return (step.role, step.round) == (Role.ADVOCATE, 1)
    last = turns[-1]
    if last.role is Role.JUDGE:
        return False
    if (step.role, step.round) == (Role.JUDGE, 1):
        return last.role is Role.CRITIC or last.reply.get("nothing_to_contest") is True
    debater = (Role.CRITIC, last.round) if last.role is Role.ADVOCATE else (Role.ADVOCATE, last.round + 1)
    return (step.role, step.round) == debater


def _words(step: Step) -> str:
    return f"{step.role.value} {step.round} ({step.model})"
