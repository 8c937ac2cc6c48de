"""What each sin of a model server does to the task that it is committed on, in a small real run.

python -m tests.faults.sins [--backend ollama|vllm] [NAME …]   prints sin, class, what became of the task, calls made
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.domain import TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.scheduler.run import RunEnd
from tests.faults.audit import Audit
from tests.faults.nights import rows
from tests.integration.places import ROOT, run_here, workplace
from tests.servers.sins import MODEL, SINS, SinfulServer

RECORDS = 6
TURNS = 3  # of a debate
TIMEOUT_S = 1.0  # of one call
PATH = {"ollama": "", "vllm": "/v1"}

TRANSIENT, CAPACITY, OVERFLOW = ErrorClass.TRANSIENT, ErrorClass.CAPACITY, ErrorClass.OVERFLOW
SHAPE, DETERMINISTIC, CONFIGURATION = ErrorClass.SHAPE, ErrorClass.DETERMINISTIC, ErrorClass.CONFIGURATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What must become of the task: a verdict or none, after so many sins, in so many calls for it.

    Attributes:
        classes: of its failed attempts, in their order.
        told: what a run says of turns that it took all the same.
        stops: the run ends, and the task waits for the next one.
    """

    classes: tuple[ErrorClass, ...] = ()
    verdict: bool
    sins: int
    calls: int
    told: frozenset[str] = frozenset()
    stops: bool = False


def _fails(calls: int, *classes: ErrorClass) -> Right:
    """Whenever it is asked for, its server sins."""
    return Right(classes=classes, verdict=False, sins=calls, calls=calls)


def _passes(*classes: ErrorClass) -> Right:
    """Each sin fails one attempt, and then its turns are spoken."""
    return Right(classes=classes, verdict=True, sins=len(classes), calls=TURNS + len(classes))


def _taken(*told: str) -> Right:
    """Each turn is sinned against, and taken at once."""
    return Right(verdict=True, sins=TURNS, calls=TURNS, told=frozenset(told))


_STOPS = Right(classes=(CONFIGURATION,), verdict=False, sins=1, calls=1, stops=True)
_TRIED_TWICE = _fails(2, TRANSIENT, TRANSIENT)
# By its second failure nothing else is in flight, and the server is tried out first.
_DOUBTED = _fails(3, TRANSIENT, TRANSIENT, TRANSIENT)
_ASKED_AGAIN = _fails(6, SHAPE, SHAPE)  # two attempts, since the second has the same error; three asks each
RIGHT: Mapping[str, Right] = {
    "silent truncation": _fails(1, OVERFLOW),
    "reload": _taken("reload"),
    "numbers that nobody can use": _taken(),
    "done: false": _TRIED_TWICE,
    "ends in an error": _TRIED_TWICE,
    "half body": _TRIED_TWICE,
    "200 with HTML": _TRIED_TWICE,
    "200 with an error": _TRIED_TWICE,
    "length": _fails(1, OVERFLOW),
    "fenced JSON": _taken("fenced"),
    "prose around": _taken("prose"),
    "endless white space": _ASKED_AGAIN,
    "nested braces": _ASKED_AGAIN,
    "wrong enum": _ASKED_AGAIN,
    "NaN": _ASKED_AGAIN,
    "duplicate keys": _ASKED_AGAIN,
    "thinking only": _ASKED_AGAIN,
    "500 that names an option": _fails(1, DETERMINISTIC),
    "500 out of memory": _passes(CAPACITY, CAPACITY),
    "503": _passes(CAPACITY, CAPACITY),
    "429 with Retry-After": _passes(CAPACITY),
    "hang": _DOUBTED,
    "slow drip": _DOUBTED,
    "100 MB body": _TRIED_TWICE,
    "redirect": _STOPS,
    "unknown model": _STOPS,
    "another model answers": _STOPS,
    "a model of a like name answers": _STOPS,
    "connection reset": _passes(TRANSIENT),
    "connection refused": _passes(TRANSIENT),
}
NATIVE = frozenset({"reload"})  # OpenAI's interface has no words for it


def committed_by(backend: str) -> list[str]:
    """The sins that a server of this kind can commit."""
    return [name for name in SINS if backend == "ollama" or name not in NATIVE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the task that was sinned against, and of the others; `gaps_s` lie between its calls.

    `sins` is how often its server sinned, `told` what the run says of turns that it took all the same, `again` are all
    calls that were made again, and `wrong` is what `db verify` finds afterwards.
    """

    sin: str
    sins: int
    told: frozenset[str]
    classes: tuple[ErrorClass, ...]
    status: TaskStatus
    verdict: bool
    calls: int
    gaps_s: tuple[float, ...]
    others_done: int
    end: RunEnd
    again: int
    wrong: tuple[str, ...]

    def breaches(self, right: Right) -> list[str]:
        """What is not as it should be; empty if all is."""
        found = [
            *self.wrong,
            *(
                f"{what}: {got}, not {wanted}"
                for what, got, wanted in (
                    ("sins", self.sins, right.sins),
                    ("verdict", self.verdict, right.verdict),
                    ("classes", [*map(str, self.classes)], [*map(str, right.classes)]),
                    ("told", sorted(self.told), sorted(right.told)),
                    ("calls", self.calls, right.calls),
                )
                if got != wanted
            ),
        ]
        if right.stops is (self.end.error is None):
            found.append(f"the run ended with {self.end.error}")
        if not right.stops and self.others_done != RECORDS - 1:
            found.append(f"{self.others_done} of the other {RECORDS - 1} done")
        if not self.verdict and not right.stops and self.status is not TaskStatus.FAILED:
            found.append(f"the task is {self.status.value}")
        return found

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        classes = ", ".join(f"{self.classes.count(kind)} × {kind.value}" for kind in dict.fromkeys(self.classes)) or "–"
        stopped = "; the run stopped" if self.end.error is not None else ""
        became = "verdict" if self.verdict else f"no verdict, {self.status.value}{stopped}"
        return self.sin, classes, became, str(self.calls), f"{self.others_done} of {RECORDS - 1}"


async def suffer(name: str, backend: str, home: Path, *, marked: str = "") -> Outcome:
    """One small run in which the first record is sinned against, or every call with something else in its prompt."""
    first = json.loads((ROOT / "prompts/posting/sample.jsonl").read_text().splitlines()[0])
    async with SinfulServer(SINS[name], marked=marked or first["title"]) as server:
        url = f"{server.url}{PATH[backend]}"
        settings = f'max_workers = 2\n[endpoints.desk]\nbackend = "{backend}"\nurl = "{url}"\n'
        cast = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
        place = workplace(home, cast, settings, records=RECORDS, timeout_s=TIMEOUT_S)
        end = await run_here(place)
    database = place.config.database
    ((turns,),) = rows(database, "SELECT count(*) FROM turns")
    with place.reading() as reading:
        (task,) = reading.find(first["id"])
        done = sum(row.score is not None for row in reading.verdicts() if row.key != first["id"])
    times = [at for at, marked in server.asked if marked]
    reloads = {"reload"} if end.tally.reloads else set()
    return Outcome(
        sin=name,
        sins=server.sins,
        told=frozenset({mark.value for mark in end.tally.marks} | reloads),
        classes=tuple(attempt.error_class for attempt in task.attempts),
        status=task.status,
        verdict=task.verdict is not None,
        calls=len(times),
        gaps_s=tuple(after - before for before, after in pairwise(times)),
        others_done=done,
        end=end,
        # The last call for a task without a verdict is not made again.
        again=len(server.asked) - turns - (task.verdict is None),
        wrong=tuple(Audit().breaches(database, home)),
    )


def table(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


async def suffer_all(names: Iterable[str], backend: str) -> list[Outcome]:
    """A small run for each of these sins, one after the other."""
    found = []
    for name in names:
        with TemporaryDirectory(prefix="sins-") as home:
            found.append(await suffer(name, backend, Path(home)))
    return found


def main() -> int:
    """Print the table of one backend; exit 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.sins", description="What sins of servers do to tasks."
    )
    parser.add_argument("--backend", choices=list(PATH), default="ollama", help="the interface the server speaks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these sins")
    wanted = parser.parse_args()
    outcomes = asyncio.run(suffer_all(wanted.names or committed_by(wanted.backend), wanted.backend))
    head = ("sin", "class", "what became of the task", "calls", "others done")
    print("\n".join(table([head, *(outcome.row() for outcome in outcomes)])))
    wrong = {outcome.sin: breaches for outcome in outcomes if (breaches := outcome.breaches(RIGHT[outcome.sin]))}
    for sin, breaches in wrong.items():
        print(f"WRONG {sin}: {'; '.join(breaches)}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
