"""Looks a whole database over for what must never be: lost, doubled, late or altered turns and verdicts.

Changes nothing. Memory stays flat, however large the database is and however much is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Row

from orchestrator.domain import Digest, Flag, Role, Step, TaskId, Turn, Verdict
from orchestrator.store import schema
from orchestrator.store.codec import UnreadableError, json_text, object_of, payload_hash_of, word_of, words_of
from orchestrator.store.engine import reader_engine, said_in_words
from orchestrator.store.made import made
from orchestrator.store.rows import TURNS, turn_of
from orchestrator.store.verify_rules import RULES, UNREADABLE, Rule

MOST_BREACHES = 1000
_TASKS_AT_ONCE = 100
_LONGEST = 500  # characters of what is said of one breach
_COPY = "restore a copy of the database"
_ANEW = f"{_COPY}, or submit the record under another --source to have it debated anew"
_SHOWN = f"{_COPY}; orchestrate show has what the judge said"

# Who speaks after these turns under a digest; None after the last. Raises nothing for turns in a legal order.
Follows = Callable[[Sequence[Turn]], Step | None]


class Content(Protocol):
    """Reads what is stored under one digest once more, and says in a few words how it differs; None if it does not."""

    def misread(self, turn: Turn) -> str | None:
        """How a turn differs from its own text."""
        ...

    def misjudged(self, turns: Sequence[Turn], verdict: Verdict) -> str | None:
        """How a verdict differs from what follows from turns that are as their texts say, the judge's last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One broken promise. `task_id` is None, and `key` empty, where it is about no single task.

    `mend` is what to do about it, empty where nothing but a report helps.
    """

    promise: str
    task_id: TaskId | None
    key: str
    what: str
    meaning: str
    mend: str = ""


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


_STANDING = """SELECT tasks.id, jobs.key, tasks.digest, tasks.status, tasks.fresh,
    tasks.next_role, tasks.next_round, tasks.next_model
    FROM tasks LEFT JOIN jobs ON jobs.id = tasks.job_id WHERE tasks.id > ? ORDER BY tasks.id LIMIT ?"""
_KEY = "SELECT jobs.key FROM tasks JOIN jobs ON jobs.id = tasks.job_id WHERE tasks.id = ?"
_JOBS = "SELECT source, key, revision, payload, payload_hash FROM jobs ORDER BY id"
_VERDICTS = """SELECT task_id, score, label, flags FROM verdicts
    WHERE task_id IN (SELECT value FROM json_each(?)) ORDER BY id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look over a database; `unknown` counts the tasks whose digest nobody here knows."""

    path: Path
    connection: Connection
    follows: Mapping[Digest, Follows]
    content: Callable[[Digest], Content]
    unknown: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A task as it stands: its turns, what is wrong with the rows they come from, and its verdict, if it has one."""

    row: Row[Any]
    turns: tuple[Turn, ...]
    wrong: tuple[str, ...]
    verdict: Verdict | None


def verify(path: Path, follows: Mapping[Digest, Follows], content: Callable[[Digest], Content]) -> Verified:
    """Check P1, P3, P4 and P5 on every task, in one snapshot, and the file as SQLite sees it.

    `follows` says who speaks next under each digest that is known. Under the others any order that some debate
    allows is taken for right. `content` gives the reader of what is stored under a digest. Raises StoreError.
    """
    engine = reader_engine(path, lossy=True)
    with said_in_words(path), engine.connect() as connection, connection.begin():
        look = _Look(path=path, connection=connection, follows=follows, content=content)
        with closing(_broken(look)) as broken:
            breaches = tuple(islice(broken, MOST_BREACHES))
        tasks, turns, verdicts = (_count(connection, table) for table in ("tasks", "turns", "verdicts"))
    unknown = sum(look.unknown)
    return Verified(path=path, tasks=tasks, turns=turns, verdicts=verdicts, unknown=unknown, breaches=breaches)


def _broken(look: _Look) -> Generator[Breach]:
    damage = [*_broken_file(look.path), *_broken_rules(look.connection, UNREADABLE)]
    if damage:
        yield from damage
        return
    yield from _broken_rules(look.connection, RULES)
    yield from _broken_records(look.connection)
    for stored in _stored(look):
        yield from _broken_task(look, stored)


def _count(connection: Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608 -- one of three


def _broken_file(path: Path) -> Iterator[Breach]:
    for problem in schema.problems(path):
        yield Breach(promise="file", task_id=None, key="", what=problem, meaning="the file is damaged", mend=_COPY)


def _broken_rules(connection: Connection, rules: Iterable[Rule]) -> Iterator[Breach]:
    for rule in rules:
        for task_id, what in connection.exec_driver_sql(f"{rule.sql} LIMIT {MOST_BREACHES}"):
            key = str(connection.exec_driver_sql(_KEY, (task_id,)).scalar() or "")
            # In a damaged file, a column that is put into words may hold nothing.
            said = str(what or "has a column with nothing in it")[:_LONGEST]
            yield Breach(promise=rule.promise, task_id=task_id, key=key, what=said, meaning=rule.meaning)


def _broken_records(connection: Connection) -> Iterator[Breach]:
    """The records that are not what was submitted."""
    for row in connection.exec_driver_sql(_JOBS):
        problem = _altered(row.payload, row.payload_hash)
        if problem is not None:
            what = f"record {row.key} of {row.source}, revision {row.revision}: {problem}"
            meaning = "what was debated cannot be told"
            yield Breach(promise="P1", task_id=None, key="", what=what[:_LONGEST], meaning=meaning, mend=_ANEW)


def _altered(payload: str, payload_hash: str) -> str | None:
    try:
        same = payload_hash_of(object_of(payload)) == payload_hash
    except UnreadableError as error:
        return str(error)
    except (ValueError, RecursionError):
        same = False  # half a surrogate pair, or numbers and lists that are too long to be written: never stored
    return None if same else "its payload and its payload's hash differ"


def _stored(look: _Look) -> Iterator[_Stored]:
    """Every task, a page at a time."""
    after = 0
    while rows := look.connection.exec_driver_sql(_STANDING, (after, _TASKS_AT_ONCE)).all():
        after = rows[-1].id
        look.unknown.append(sum(row.digest not in look.follows for row in rows))
        ids = json_text([row.id for row in rows])
        spoken = _spoken(look.connection, ids)
        verdicts = {each.task_id: each for each in look.connection.exec_driver_sql(_VERDICTS, (ids,))}
        for row in rows:
            turns, wrong = spoken.get(row.id, ((), ()))
            verdict, unread = _verdict(verdicts.get(row.id))
            yield _Stored(row=row, turns=turns, wrong=(*wrong, *unread), verdict=verdict)


def _spoken(connection: Connection, ids: str) -> dict[int, tuple[tuple[Turn, ...], tuple[str, ...]]]:
    """The turns of these tasks, and what is wrong with their rows; turns after one that cannot be read are left out."""
    found = {}
    rows = connection.exec_driver_sql(TURNS.sql, TURNS.bind({"ids": ids})).mappings()
    for task_id, group in groupby(rows, key=lambda row: row["task_id"]):
        turns, wrong = list[Turn](), list[str]()
        try:
            for row in group:
                turn = turn_of(row)
                turns.append(turn)
                kept = len(turn.quotes), sum(quote.verified for quote in turn.quotes)
                if kept != (row["quotes_total"], row["quotes_verified"]):
                    wrong.append(f"{_words(_step(turn))}: counts other quotes than it keeps")
        except UnreadableError as error:
            wrong.append(f"{row['role']} {row['round']} cannot be read: {error}")
        found[task_id] = tuple(turns), tuple(wrong)
    return found


def _verdict(row: Row[Any] | None) -> tuple[Verdict | None, tuple[str, ...]]:
    if row is None:
        return None, ()
    try:
        flags = tuple(word_of(Flag, word) for word in words_of(row.flags))
        return made(Verdict, {**row._mapping, "flags": flags}), ()
    except UnreadableError as error:
        return None, (f"its verdict cannot be read: {error}",)


def _broken_task(look: _Look, stored: _Stored) -> Iterator[Breach]:
    """What is wrong with one task: rows that cannot be read, or else what they say and the order they stand in."""
    row, turns, verdict = stored.row, stored.turns, stored.verdict
    breach = partial(_breach, row)
    if stored.wrong:
        yield from (breach("P1", what, "what was stored there is lost", _ANEW) for what in stored.wrong)
        return
    content = look.content(Digest(row.digest))
    misread = [f"{_words(_step(turn))}: {what}" for turn in turns if (what := content.misread(turn)) is not None]
    for what in misread:
        yield breach("P1", what, "the others answered to something else than what was said", _ANEW)
    if verdict is not None and turns and turns[-1].role is Role.JUDGE and not misread:
        what = content.misjudged(turns, verdict)
        if what is not None:
            yield breach("P4", what, "the verdict is not what the judge said", _SHOWN)
    problem = _problem(row, turns, look.follows.get(row.digest))
    if problem is not None:
        yield breach("P1", *problem)


def _breach(row: Row[Any], promise: str, what: str, meaning: str, mend: str = "") -> Breach:
    said = what[:_LONGEST]
    return Breach(
        promise=promise, task_id=TaskId(row.id), key=str(row.key or ""), what=said, meaning=meaning, mend=mend
    )


def _problem(row: Row[Any], turns: tuple[Turn, ...], follow: Follows | None) -> tuple[str, str] | None:
    """What is wrong with a task's turns, if anything, and what that means."""
    said: set[tuple[Role, int]] = set()
    for place, turn in enumerate(turns):
        step = _step(turn)
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
    step = Step(role=word_of(Role, row.next_role), round=row.next_round, model=row.next_model)
    # A turn names the model that spoke it, which may be a fallback; who waits names the model of the card.
    if _may_follow(turns, step, follow) and (follow is None or follow(turns) == step):
        return None
    return f"waits for {_words(step)}, which cannot follow from its turns", "its state and its turns disagree"


def _may_follow(turns: Sequence[Turn], step: Step, follow: Follows | None) -> bool:
    if follow is not None:
        expected = follow(turns)
        return expected is not None and (expected.role, expected.round) == (step.role, step.round)
    if not turns:
        return (step.role, step.round) == (Role.ADVOCATE, 1)
    last = turns[-1]
    if last.role is Role.JUDGE:
        return False
    if (step.role, step.round) == (Role.JUDGE, 1):
        return last.role is Role.CRITIC or last.reply.get("nothing_to_contest") is True
    debater = (Role.CRITIC, last.round) if last.role is Role.ADVOCATE else (Role.ADVOCATE, last.round + 1)
    return (step.role, step.round) == debater


def _step(turn: Turn) -> Step:
    return Step(role=turn.role, round=turn.round, model=turn.model)


def _words(step: Step) -> str:
    return f"{step.role.value} {step.round} ({step.model})"
