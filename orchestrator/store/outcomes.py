"""What becomes of a submitted record: one decision, shared by every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from enum import StrEnum

from orchestrator.domain import Digest, Submission, Submitted, TaskStatus
from orchestrator.store.codec import Record

LOST = "the worker died, or its lease ran out while it spoke"
DEAD = "its process died"
# Whose worker died so often at one turn may be what kills it: it is spoken with nothing beside it that could be lost.
ALONE_AFTER = 2

# Whose last move is further ahead than this was made while the clock was ahead, and so was the end of its wait: it is
# due at once. Less may be a run that read the clock, and then waited for another one's write.
CLOCK_SLACK = timedelta(minutes=1)

Standing = Sequence[tuple[Digest, TaskStatus]]


class Outcome(StrEnum):
    """Where a record is counted; each is counted once."""

    ADDED = "added"  # a new job, or a known one that gets its first task in this debate
    KNOWN = "known"  # it has its task; nothing changes
    UPDATED = "updated"  # its payload changed: a new revision, and a task for it
    CHANGED = "changed"  # its payload changed and is left alone
    AGAIN = "again"  # judged under another digest; a task under this one as well
    JUDGED_BEFORE = "judged before"  # judged under another digest; nothing changes


GETS_TASK = frozenset({Outcome.ADDED, Outcome.UPDATED, Outcome.AGAIN})


def outcome(submission: Submission, record: Record, known_hash: str | None, standing: Standing) -> Outcome:
    """Decide for one record.

    `known_hash` is the payload's hash of the job's newest revision, None for a new key; `standing` are the tasks
    of that revision in this debate.
    """
    if known_hash is None:
        return Outcome.ADDED
    if known_hash != record.payload_hash:
        return Outcome.UPDATED if submission.update else Outcome.CHANGED
    current = [(digest, status) for digest, status in standing if status is not TaskStatus.SUPERSEDED]
    if any(digest == submission.digest for digest, _ in current):
        return Outcome.KNOWN
    if any(status is TaskStatus.DONE for _, status in current):
        return Outcome.AGAIN if submission.again else Outcome.JUDGED_BEFORE
    return Outcome.KNOWN if current else Outcome.ADDED


def without_repeats(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The records in order, in groups in which no key comes twice."""
    group: list[Record] = []
    keys: set[str] = set()
    for record in records:
        if record.key in keys:
            yield group
            group, keys = [], set()
        group.append(record)
        keys.add(record.key)
    if group:
        yield group


def submitted(counts: Counter[Outcome], changed: Sequence[str]) -> Submitted:
    """The counts as the caller reads them."""
    return Submitted(
        added=counts[Outcome.ADDED],
        known=counts[Outcome.KNOWN],
        updated=counts[Outcome.UPDATED],
        again=counts[Outcome.AGAIN],
        judged_before=counts[Outcome.JUDGED_BEFORE],
        changed=tuple(changed),
    )
