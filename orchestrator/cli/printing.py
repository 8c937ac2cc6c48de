"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json as json_
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from orchestrator.cli.format import by_count, counted, visible
from orchestrator.cli.records import plain

if TYPE_CHECKING:
    from orchestrator.app.findings import Finding
    from orchestrator.app.moving import Checked
    from orchestrator.app.submitting import SubmitOutcome, SubmitRequest

_MOST_BAD = 10
_FEW = 5
_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


def as_json(value: Any) -> None:
    """One line of JSON on standard output."""
    print(json_.dumps(plain(value), ensure_ascii=False))


def written(paths: Sequence[Path], folder: Path, json: bool) -> None:
    """The files that `init` wrote."""
    if json:
        as_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)
    print(f"{counted(len(paths), 'file')} written" if paths else "everything is here already; --force writes it again")
    print("next: orchestrate submit prompts/posting/sample.jsonl --debate posting")


@contextmanager
def reading_bar(file: Path, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error while a file is read; none where nobody would see it."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    with Progress(
        "checking {task.description}",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        shown = bar.add_task(file.name, total=None)
        yield lambda read, total: bar.update(shown, completed=read, total=total)


def submitted(outcome: SubmitOutcome, request: SubmitRequest, json: bool) -> int:
    """What became of a file; the exit code."""
    if json:
        as_json(outcome)
        return 0 if outcome.stored else 1
    for bad in outcome.bad[:_MOST_BAD]:
        print(f"{request.file}:{bad.line}: {visible(bad.what)}: {visible(bad.mend)}", file=sys.stderr)
    if outcome.bad_count > _MOST_BAD:
        print(f"… and {outcome.bad_count - _MOST_BAD} more", file=sys.stderr)
    if not outcome.stored:
        print(
            f"orchestrate: {counted(outcome.bad_count, 'bad record')}, so nothing was stored: "
            "mend them, or give --skip-bad to store the others",
            file=sys.stderr,
        )
        return 1
    _say_counts(outcome)
    return 0


def _say_counts(outcome: SubmitOutcome) -> None:
    counts = outcome.counts
    print(f"{outcome.debate}: {counts.added} new, {counts.known} known already")
    if counts.updated:
        were = by_count(counts.updated, "was taken; its task starts", "were taken; their tasks start")
        print(f"  {counted(counts.updated, 'changed record')} {were} again")
    if counts.again:
        print(
            f"  {counted(counts.again, 'known record')} will be debated again under the present version of the debate"
        )
    if counts.judged_before:
        print(
            f"  judged under an older version of the debate: {counts.judged_before:,} of the known ones; "
            "--again debates them again"
        )
    if outcome.changed:
        print(
            f"  left as they were: {counted(outcome.changed, 'known key')} with another record now "
            f"({_some(counts.changed, outcome.changed)}); --update takes the new ones"
        )
    if outcome.marked.records:
        signs = ", ".join(f"{sign.value} {count}" for sign, count in sorted(outcome.marked.signs.items()))
        count = outcome.marked.records
        print(
            f"  {counted(count, 'record')} {by_count(count, 'carries', 'carry')} what may be meant for a model "
            f"({signs}): {_some(outcome.marked.keys, count)}; debated like the others; "
            "`orchestrate show KEY` says where it stands"
        )
    if outcome.bad_file:
        print(f"  {counted(outcome.bad_count, 'bad record')} written to {outcome.bad_file}")
    print("next: orchestrate plan, or orchestrate process-pending")


def _some(keys: Sequence[str], count: int) -> str:
    """The first few of so many keys."""
    return ", ".join([*map(visible, keys[:_FEW]), *(["…"] if count > _FEW else [])])


def exported(rows: int, file: Path, json: bool) -> None:
    """How many rows went where; silent when the rows themselves are on standard output."""
    if json:
        print(json_.dumps({"rows": rows, "file": str(file)}), file=sys.stderr if str(file) == "-" else sys.stdout)
    elif str(file) != "-":
        print(f"{counted(rows, 'row')} in {file}")


def moved(what: str, count: int, json: bool) -> None:
    """How many tasks were moved."""
    if json:
        as_json({"tasks": count})
    else:
        print(f"{counted(count, 'task')} {what}")


def findings(found: Sequence[Finding], json: bool) -> int:
    """What the doctor found; exit code 1 if a run would fail."""
    if json:
        as_json(found)
    else:
        for finding in found:
            print(f"{_MARKS[finding.health.value]}  {finding.about}: {visible(finding.text)}")
    return int(any(finding.health.value == "bad" for finding in found))


def upgraded(path: Path, changed: bool, json: bool) -> None:
    """Whether a database had to be moved."""
    if json:
        as_json({"database": path, "changed": changed})
    else:
        print(f"{path} {'is now at' if changed else 'was already at'} this program's version")


def checked(found: Checked, json: bool) -> int:
    """A database's version and wholeness; exit code 1 if it cannot be used as it is."""
    if json:
        as_json(
            {
                "database": found.path,
                "current": found.current,
                "head": found.head,
                "problems": found.problems,
                "ok": found.ok,
            }
        )
    else:
        for problem in found.problems:
            print(f"{found.path}: {problem}", file=sys.stderr)
        print(
            f"{found.path}: {_schema(found)}, this program works with {found.head}: "
            f"{'fine' if found.ok else 'not usable as it is'}"
        )
        if found.current != found.head:
            print("next: orchestrate db upgrade")
    return 0 if found.ok else 1


def _schema(found: Checked) -> str:
    return f"schema {found.current}" if found.current else "it is empty"


def repeated(show: Callable[[], None], *, watch: bool, every_s: float = 2.0) -> None:
    """Show something once, or again and again until Ctrl-C."""
    while True:
        if watch:
            Console().clear()
        show()
        if not watch:
            return
        time.sleep(every_s)
