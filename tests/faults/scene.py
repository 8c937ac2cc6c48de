"""A database to put faults into: a folder with records, a model server, commands that are forked, and the account."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.audit import Audit
from tests.faults.injection import Injection
from tests.faults.model_server import ROLES
from tests.faults.report import ROOT

Spoken = tuple[str, str]  # a record's key and a role


@dataclass(frozen=True, slots=True)
class Command:
    """A command under way in a process of its own."""

    pid: int
    out: Path
    forks: Forks

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.forks.poll(self.pid)

    def wait(self, seconds: float = 120.0) -> int:
        """Its exit code, negative for the number of a signal; fails if it takes longer than that."""
        ends = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < ends, f"still running after {seconds} s:\n{self.said()}"
            time.sleep(0.004)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; it has not been waited for yet."""
        os.kill(self.pid, number)

    def said(self) -> str:
        """All that it has printed so far."""
        return self.out.read_text() if self.out.exists() else ""


class Forks:
    """The process that forks commands."""

    def __init__(self, folder: Path) -> None:
        """Return when it has imported everything."""
        self._folder = folder
        self._numbers = count(1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forking"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def start(self, home: Path, words: Sequence[str], injected: Injection, settings: dict[str, str]) -> Command:
        """Fork a command in a folder."""
        out = self._folder / f"said-{next(self._numbers)}.txt"
        wanted = {
            "home": str(home),
            "words": list(words),
            "injection": asdict(injected),
            "settings": settings,
            "out": str(out),
        }
        return Command(self._ask({"start": wanted}), out, self)

    def poll(self, pid: int) -> int | None:
        """A command's exit code, or None while it runs."""
        code: int | None = self._ask({"poll": pid})
        return code

    def close(self) -> None:
        """End it, and what it has forked."""
        self._process.communicate(timeout=30)

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@dataclass(slots=True, kw_only=True)
class Account:
    """What came of the faults put into one or more databases."""

    points: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0
    repeated: list[int] = field(default_factory=list)  # calls made again, fault by fault
    verified: int = 0  # databases looked over

    def add(self, other: Account) -> None:
        """Count another database's faults as well."""
        self.points += other.points
        self.survived += other.survived
        self.lost += other.lost
        self.doubled += other.doubled
        self.repeated += other.repeated
        self.verified += other.verified

    def figures(self) -> tuple[int, int, int, int, int, int, int]:
        """As `report.line` wants them."""
        most = max(self.repeated, default=0)
        return self.points, self.survived, self.lost, self.doubled, sum(self.repeated), most, self.verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that ended a run: when, what was on disk then, and whether the database kept its promises."""

    at: float
    stored: frozenset[Spoken]
    well: bool


@dataclass(slots=True, kw_only=True)
class Scene:
    """One database."""

    home: Path
    forks: Forks
    calls: Path
    before: int  # bytes of the log of calls that are about databases before this one
    faults: list[Fault] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)

    @property
    def database(self) -> Path:
        """Where the tasks are."""
        return self.home / "orchestrate.db"

    @property
    def acknowledged(self) -> Path:
        """Where runs write down what they were told is durable."""
        return self.home / "acknowledged.txt"

    def start(self, *words: str, injected: Injection | None = None, **settings: str) -> Command:
        """A command that goes on by itself; without words, a run that notes what it was acknowledged."""
        noted = injected or Injection(acknowledged=str(self.acknowledged))
        return self.forks.start(self.home, words or ("process-pending",), noted, settings)

    def run(self, *words: str, code: int = 0, **settings: str) -> str:
        """What a command prints, which must end with `code`."""
        command = self.start(*words, injected=None, **settings)
        ended = command.wait()
        assert ended == code, f"{words} ended with {ended}:\n{command.said()}"
        return command.said()

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of the database, by a reader of its own."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(question).fetchall()

    def stored(self) -> frozenset[Spoken]:
        """The turns that are on disk now."""
        question = "SELECT key, role FROM turns JOIN tasks ON tasks.id = task_id JOIN jobs ON jobs.id = job_id"
        return frozenset(self.rows(question))

    def results(self) -> list[tuple[Any, ...]]:
        """What was said and decided, whoever did it, when and in which order."""
        return self.rows(
            "SELECT key, role, round, model, reply, score, label FROM turns JOIN tasks ON tasks.id = turns.task_id "
            "JOIN jobs ON jobs.id = job_id LEFT JOIN verdicts ON turn_id = turns.id ORDER BY 1, 2, 3"
        )

    def until_stored(self, turns: int) -> None:
        """Wait until so many turns are on disk."""
        ends = time.monotonic() + 60
        while len(self.stored()) < turns:
            assert time.monotonic() < ends
            time.sleep(0.005)

    def faulted(self) -> None:
        """A fault has ended the only run: remember when, what was on disk, and whether that was well."""
        self.faults.append(Fault(at=time.monotonic(), stored=self.stored(), well=not self.breaches()))

    def breaches(self) -> list[str]:
        """What `orchestrate db verify` finds."""
        return self.audit.breaches(self.database, self.home)

    def unfinished(self) -> int:
        """Tasks without a verdict."""
        return int(self.rows("SELECT count(*) FROM tasks WHERE status <> 'done'")[0][0])

    def spoken(self) -> list[tuple[float, Spoken]]:
        """When each call arrived, and what it was for."""
        with self.calls.open("rb") as file:
            file.seek(self.before)
            return [(call["at"], (call["key"], call["role"])) for call in map(json.loads, file)]

    def acknowledgements(self) -> list[tuple[float, Spoken, tuple[int, str, int, int]]]:
        """When each turn was said to be durable, for what it was, and the row it must have."""
        keys = dict(self.rows("SELECT tasks.id, key FROM tasks JOIN jobs ON jobs.id = job_id"))
        noted = []
        for text in self.acknowledged.read_text().splitlines() if self.acknowledged.exists() else ():
            at, task, role, round_, token = text.split()
            noted.append((float(at), (keys[int(task)], role), (int(task), role, int(round_), int(token))))
        return noted

    def account(self, faults: int | None = None, *, woken: bool = False, failed: int = 0) -> Account:
        """Add up a database whose tasks should all be done by now, but for so many that had to fail.

        `faults` says how many were put in, unless each of them ended a run.

        A run that was `woken` sends the calls that it had been about to send, and cannot know what was stored
        meanwhile: they count as repeated and not as doubled.
        """
        points = len(self.faults) if faults is None else faults
        found = self.breaches()
        kept = set(self.rows("SELECT task_id, role, round, token FROM turns"))
        noted = self.acknowledgements()
        lost = sum(row not in kept for _, _, row in noted) + abs(self.unfinished() - failed)
        well = not found and not lost
        return Account(
            points=points,
            survived=points - sum(not fault.well for fault in self.faults) if well else 0,
            lost=lost,
            doubled=len(found) + (0 if woken else self._asked_after_stored(noted)),
            repeated=self._repeats(),
            verified=self.audit.verified,
        )

    def _asked_after_stored(self, noted: list[tuple[float, Spoken, tuple[int, str, int, int]]]) -> int:
        durable = {spoken: at for at, spoken, _ in reversed(noted)}
        for fault in self.faults:
            for spoken in fault.stored:
                durable[spoken] = min(fault.at, durable.get(spoken, fault.at))
        return sum(at > durable.get(spoken, at) for at, spoken in self.spoken())

    def _repeats(self) -> list[int]:
        """Calls begun before each fault whose turn was not on disk when it came: these are made again.

        What was called twice beyond that stands at the end.
        """
        calls, repeats, before = self.spoken(), [], 0.0
        for fault in self.faults:
            in_vain = [spoken for begun, spoken in calls if before < begun <= fault.at and spoken not in fault.stored]
            repeats.append(len(in_vain))
            before = fault.at
        times = Counter(spoken for _, spoken in calls)
        rest = sum(times.values()) - len(times) - sum(repeats)
        return [*repeats, rest] if rest else repeats


@dataclass(slots=True, kw_only=True)
class Stage:
    """Makes scenes: a folder with submitted records, copied for each."""

    folder: Path
    forks: Forks
    url: str
    calls: Path
    made: Iterator[int] = field(default_factory=partial(count, 1))

    def prepare(self, tasks: int, *, workers: int, holds: int = 3) -> Path:
        """A folder with so many records submitted, for a server that holds so many of the three models at once."""
        home = self.folder / f"prepared-{next(self.made)}"
        (home / "actors").mkdir(parents=True)
        for role in ROLES:
            card = {"role": role, "model": role, "prompt": f"{role}.md"}
            text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in card.items())
            (home / "actors" / f"{role}.toml").write_text(text)
        (home / "orchestrate.toml").write_text(
            f'max_workers = {workers}\nmax_attempts = 100\n[endpoints.gpu]\nbackend = "ollama"\n'
            f'url = "{self.url}"\nholds = {holds}\n'
        )
        records = home / "records.jsonl"
        with records.open("w") as file:
            file.writelines(f"{_record(number)}\n" for number in range(tasks))
        submitting = self.scene_in(home).start("submit", str(records), "--debate", "posting")
        assert submitting.wait(120 + tasks / 1_000) == 0, submitting.said()
        return home

    def scene(self, prepared: Path) -> Scene:
        """A scene of its own, as it was prepared."""
        home = self.folder / f"scene-{next(self.made)}"
        shutil.copytree(prepared, home)
        return self.scene_in(home)

    def scene_in(self, home: Path) -> Scene:
        """A scene in a folder that is there."""
        before = self.calls.stat().st_size if self.calls.exists() else 0
        return Scene(home=home, forks=self.forks, calls=self.calls, before=before)


def _record(number: int) -> str:
    key = f"r{number:06}"
    text = "We need a clerk for the front office. Training is given. Call us before Friday."
    return json.dumps({"id": key, "title": f"{key} Clerk", "company": "Town of Example", "text": text})


@contextmanager
def model_server(calls: Path, latency_s: float) -> Iterator[str]:
    """The model server as a program of its own; gives its address."""
    words = ["--calls", str(calls), "--latency", str(latency_s), "--lifetime", "36000"]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.model_server", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate(timeout=10)
