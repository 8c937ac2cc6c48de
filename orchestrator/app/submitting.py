"""Files of records on their way into the task table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.clock import SystemClock
from orchestrator.app.workplace import Workplace
from orchestrator.domain import Submission, Submitted
from orchestrator.limits import Limits
from orchestrator.records.bad_file import write_bad_rows
from orchestrator.records.check import Checked, check
from orchestrator.records.record import Bad, RecordSpec
from orchestrator.store.tasks import SqlTaskStore

MOST_CHANGED = 20

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """What `submit` was asked to do; `key` and `source` are the debate's own where they are None."""

    file: Path
    debate: str
    key: str | None = None
    source: str | None = None
    skip_bad: bool = False
    update: bool = False
    again: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOutcome:
    """What became of a file.

    Attributes:
        stored: False if bad records kept the whole file from being stored.
        counts: records by what was done; `changed` holds the first 20 keys.
        changed: how many known keys have another payload and were left alone.
        bad: the first bad records; `bad_count` is how many there are.
        bad_file: where all the bad ones were written to.
    """

    stored: bool
    debate: str
    digest: str
    counts: Submitted
    changed: int
    bad: list[Bad]
    bad_count: int
    bad_file: Path | None


def submit(workplace: Workplace, request: SubmitRequest, on_progress: OnProgress | None = None) -> SubmitOutcome:
    """Check a whole file, then store it.

    Raises:
        IntakeError: not a readable file of records.
        CastError, StoreError: the debate or the database is not usable.
    """
    debate = workplace.debate(request.debate)
    fields = debate.fields
    spec = RecordSpec(key=request.key or fields.key, required=tuple(fields.required), optional=tuple(fields.optional))
    limits = Limits(longest_line=workplace.config.settings.longest_line)
    submission = Submission(
        source=request.source or debate.name,
        debate=debate.name,
        digest=debate.digest,
        first=debate.first,
        priority=request.priority,
        update=request.update,
        again=request.again,
    )
    with check(request.file, spec, limits, on_progress=on_progress) as checked:
        bad_file = None
        counts, changed = Submitted(), 0
        stored = not checked.bad_count or request.skip_bad
        if stored:
            if checked.bad_count:
                bad_file = request.file.with_name(f"{request.file.stem}.bad.jsonl")
                write_bad_rows(bad_file, checked.bad_rows())
            with workplace.store(create=True) as store:
                counts, changed = _store(store, submission, checked)
        return SubmitOutcome(
            stored=stored,
            debate=debate.name,
            digest=debate.digest,
            counts=counts,
            changed=changed,
            bad=checked.bad,
            bad_count=checked.bad_count,
            bad_file=bad_file,
        )


def _store(store: SqlTaskStore, submission: Submission, checked: Checked) -> tuple[Submitted, int]:
    clock = SystemClock()
    total, changed = Submitted(), 0
    with closing(checked.batches()) as batches:
        for drafts in batches:
            part = store.submit(submission, drafts, clock.now())
            changed += len(part.changed)
            total = Submitted(
                added=total.added + part.added,
                known=total.known + part.known,
                updated=total.updated + part.updated,
                again=total.again + part.again,
                judged_before=total.judged_before + part.judged_before,
                changed=(total.changed + part.changed)[:MOST_CHANGED],
            )
    return total, changed
