"""What a database says is to be looked at before its verdicts are believed."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain import Flag, Mark, RunId, Verdict
from orchestrator.errors import ErrorClass, Guard
from orchestrator.store.doubts import CONSTANT_FROM, ConstantJudge, Doubts, FlagCount, GuardCount, MarkCount
from orchestrator.store.reading import Reading
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import (
    DIGEST,
    LAST,
    OTHER,
    at,
    begin,
    claim_one,
    drafts,
    failed,
    spoken,
    submission,
    turn,
)

BOTH = (Mark.FENCED, Mark.PROSE)


def judge(store: SqlTaskStore, run_id: RunId, verdict: Verdict, *marks: Mark, again: bool = False) -> None:
    """An advocate's turn and a judge's, on the next fresh task of the one digest or the other."""
    claim = claim_one(store, run_id, digest=OTHER if again else DIGEST)
    assert store.record(spoken(claim, turn=turn(marks=marks), then=LAST, hold=True), at(3))
    assert store.record(spoken(claim, LAST, verdict=verdict), at(6))


def judge_all(store: SqlTaskStore, scores: Sequence[int], *, again: bool = False) -> RunId:
    name, digest = ("salaries", OTHER) if again else ("jobs", DIGEST)
    keys = [f"{name}-{number}" for number in range(len(scores))]
    store.submit(submission(debate=name, digest=digest, source=name), drafts(*keys), at(0))
    run_id = begin(store)
    for score in scores:
        judge(store, run_id, Verdict(score=score, label="apply"), again=again)
    return run_id


def test_nothing_is_doubted_without_reason(store: SqlTaskStore, reading: Reading) -> None:
    run_id = judge_all(store, [5] * (CONSTANT_FROM - 1))

    assert reading.doubts([run_id]) == Doubts(flags=[], marks=[], guards=[], constant_judges=[])


def test_flags_and_marks_are_kept_and_counted(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    outside = Verdict(score=9, label="apply", flags=(Flag.OUTSIDE,))
    judge(store, run_id, outside, *BOTH)
    judge(store, run_id, outside, Mark.FENCED)
    judge(store, run_id, Verdict(score=5, label="apply"))

    found = reading.doubts([run_id])

    assert found.flags == [FlagCount(debate="jobs", digest=DIGEST, flag=Flag.OUTSIDE, count=2)]
    assert found.marks == [
        MarkCount(debate="jobs", mark=Mark.FENCED, count=2),
        MarkCount(debate="jobs", mark=Mark.PROSE, count=1),
    ]
    (detail,) = reading.find("a")
    assert (detail.verdict, [each.marks for each in detail.turns]) == (outside, [BOTH, ()])
    assert [row.flags for row in reading.verdicts()] == [(Flag.OUTSIDE,), (Flag.OUTSIDE,), ()]


def test_refused_replies_are_counted_by_check(store: SqlTaskStore, reading: Reading) -> None:
    store.submit(submission(), drafts("a", "b", "c"), at(0))
    run_id = begin(store)
    for guard in (Guard.CONTRADICTION, Guard.SHAPE, Guard.CONTRADICTION):
        attempt = failed(claim_one(store, run_id), error_class=ErrorClass.SHAPE, guard=guard, asks=2)
        assert store.fail(attempt, at(3))
    found = reading.doubts([])

    assert found.guards == [
        GuardCount(debate="jobs", guard=Guard.CONTRADICTION, count=2),
        GuardCount(debate="jobs", guard=Guard.SHAPE, count=1),
    ]
    assert [(row.guard, row.asks) for row in reading.errors(limit=1)] == [(Guard.CONTRADICTION, 2)]
    (detail,) = reading.find("b")
    assert [(each.guard, each.asks) for each in detail.attempts] == [(Guard.SHAPE, 2)]


def test_judge_of_one_score_is_found(store: SqlTaskStore, reading: Reading) -> None:
    same = judge_all(store, [5] * CONSTANT_FROM)
    varied = judge_all(store, [5] * CONSTANT_FROM + [6], again=True)

    assert reading.doubts([same, varied]).constant_judges == [
        ConstantJudge(run_id=same, debate="jobs", digest=DIGEST, model=LAST.model, score=5, count=CONSTANT_FROM)
    ]
    assert reading.doubts([varied]).constant_judges == []
