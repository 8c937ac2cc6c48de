"""Files of records on their way into the task table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.app.clock import SystemClock
from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.lint import Sign, marks
from orchestrator.domain import JobDraft, Submission, Submitted
from orchestrator.limits import Limits
from orchestrator.records.bad_file import write_bad_rows
from orchestrator.records.check import Checked, check
from orchestrator.records.record import Bad, RecordSpec
from orchestrator.store.tasks import SqlTaskStore

MOST_CHANGED = 20
MOST_MARKED = 20

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


@dataclass(slots=True, kw_only=True)
class Marked:
    """What the lint found in the records of a file.

    Attributes:
        records: how many carry something that may be meant for a model.
        signs: how many of them carry each sign.
        keys: the first 20 of them.
    """

    records: int = 0
    signs: dict[Sign, int] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def look_at(self, draft: JobDraft) -> None:
        """Count one record."""
        found = {mark.sign for mark in marks(draft.payload)}
        if not found:
            return
        self.records += 1
        for sign in found:
            self.signs[sign] = self.signs.get(sign, 0) + 1
        if len(self.keys) < MOST_MARKED:
            self.keys.append(draft.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOutcome:
    """What became of a file.

    Attributes:
        stored: False if bad records kept the whole file from being stored.
        counts: records by what was done; `changed` holds the first 20 keys.
        changed: how many known keys have another payload and were left alone.
        marked: what the lint found in the records taken, known ones included.
        bad: the first bad records; `bad_count` is how many there are.
        bad_file: where all the bad ones were written to.
    """

    stored: bool
    debate: str
    digest: str
    counts: Submitted
    changed: int
    marked: Marked
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
    with check(request.file, spec, limits, on_progress=on_progress) as checked:
        bad_file = None
        counts, changed, marked = Submitted(), 0, Marked()
        stored = not checked.bad_count or request.skip_bad
        if stored:
            if checked.bad_count:
                bad_file = request.file.with_name(f"{request.file.stem}.bad.jsonl")
                write_bad_rows(bad_file, checked.bad_rows())
            with workplace.store(create=True) as store:
                counts, changed = _store(store, _submission(request, debate), checked, marked)
        return SubmitOutcome(
            stored=stored,
            debate=debate.name,
            digest=debate.digest,
            counts=counts,
            changed=changed,
            marked=marked,
            bad=checked.bad,
            bad_count=checked.bad_count,
            bad_file=bad_file,
        )


def _submission(request: SubmitRequest, debate: Debate) -> Submission:
    return Submission(
        source=request.source or debate.name,
        debate=debate.name,
        digest=debate.digest,
        first=debate.first,
        priority=request.priority,
        update=request.update,
        again=request.again,
    )


def _store(store: SqlTaskStore, submission: Submission, checked: Checked, marked: Marked) -> tuple[Submitted, int]:
    clock = SystemClock()
    total, changed = Submitted(), 0
    with closing(checked.batches()) as batches:
        for drafts in batches:
            part = store.submit(submission, drafts, clock.now())
            for draft in drafts:
                marked.look_at(draft)
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
