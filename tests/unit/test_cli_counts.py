"""One of a thing is said as one: no "1 records"."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.app.submitting import Marked, SubmitOutcome, SubmitRequest
from orchestrator.cli import printing, runs
from orchestrator.cli.progress import Work, line
from orchestrator.debate.lint import Sign
from orchestrator.domain import RunId, RunStatus, Submitted
from orchestrator.errors import ErrorClass
from orchestrator.records.record import Bad
from orchestrator.scheduler.run import RunEnd
from orchestrator.scheduler.tally import Tally

MANY = re.compile(r"(?<![\d,.])1 (?:(?:bad|changed|known|pending|failed) )?[a-z]+s\b")
SUBMITTED = SubmitRequest(file=Path("in.jsonl"), debate="posting")


def outcome(count: int, *, stored: bool = True) -> SubmitOutcome:
    """A file of which there is so much of everything."""
    keys = [f"r{number}" for number in range(count)]
    marked = Marked(records=count, signs={Sign.FENCE: count}, keys=keys)
    return SubmitOutcome(
        stored=stored,
        debate="posting",
        digest="d",
        counts=Submitted(
            added=count, known=count, updated=count, again=count, judged_before=count, changed=tuple(keys)
        ),
        changed=count,
        marked=marked,
        bad=[Bad(line=1, what="it is empty", mend="fill it in", raw="")],
        bad_count=count,
        bad_file=Path("in.bad.jsonl"),
    )


def ended(count: int) -> RunEnd:
    """A run in which so much of everything happened."""
    tally = Tally(started_at=datetime(2026, 11, 21, tzinfo=UTC), turns=count, done=count, failed=count, lost=count)
    tally.swaps = tally.rescued = tally.superseded = count
    tally.failures = tally.given_up = Counter({ErrorClass.SHAPE: count})
    tally.examples[ErrorClass.SHAPE] = "r1: no JSON"
    return RunEnd(run_id=RunId(7), status=RunStatus.DONE, tally=tally, error=None, turn_rates=(), load_rates=())


def said(count: int, capsys: pytest.CaptureFixture[str]) -> str:
    printing.submitted(outcome(count), SUBMITTED, json=False)
    printing.submitted(outcome(count, stored=False), SUBMITTED, json=False)
    printing.moved("put back to pending", count, json=False)
    printing.exported(count, Path("out.csv"), json=False)
    printing.written([Path("a")] * count, Path(), json=False)
    runs._say_end(ended(count), count, [])
    print(line(ended(count).tally, Work(tasks=3, turns=9), 60.0))
    out, err = capsys.readouterr()
    return out + err


def test_one_is_no_plural(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(1, capsys)

    assert "orchestrate: 1 bad record, so nothing was stored" in text
    assert "1 record carries what may be meant for a model" in text
    assert "1 task put back to pending" in text
    assert "1 row in out.csv" in text
    assert MANY.findall(text) == []


def test_several_are_plural(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(6, capsys)

    assert "6 changed records were taken; their tasks start again" in text
    assert "6 known keys with another record now (r0, r1, r2, r3, r4, …)" in text
    assert "6 pending tasks were of an older version; they run under the present one" in text
    assert "6 turns came too late to be kept: their tasks" in text
