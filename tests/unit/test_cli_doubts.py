"""What is to be looked at before verdicts are believed, as it is said to people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.app.looking import Shown
from orchestrator.cli import debates, doubts
from orchestrator.domain import Attempt, Flag, Mark, RunId, TaskId, TaskStatus, Turn, Verdict
from orchestrator.errors import ErrorClass, Guard
from orchestrator.store.doubts import ConstantJudge, Doubts, FlagCount, GuardCount, MarkCount
from orchestrator.store.reading_rows import TaskDetail
from tests.store_rows import DIGEST, ENDPOINT, LAST, at, turn

JUDGE = ConstantJudge(run_id=RunId(3), debate="jobs", digest=DIGEST, model="qwen", score=5, count=1200)
CONSTANT = (
    "run 3: the judge qwen gave 5 to all 1,200 records of jobs, which tells nothing: "
    "read some debates (orchestrate show), then the judge's prompt and the scale"
)
NONE = Doubts(flags=[], marks=[], guards=[], constant_judges=[])


def test_database_says_its_doubts() -> None:
    found = Doubts(
        flags=[FlagCount(debate="jobs", digest=DIGEST, flag=Flag.OUTSIDE, count=1)],
        marks=[MarkCount(debate="jobs", mark=Mark.FENCED, count=1200)],
        guards=[GuardCount(debate="jobs", guard=Guard.CONTRADICTION, count=2)],
        constant_judges=[JUDGE],
    )

    assert list(doubts.of_database(found)) == [
        "jobs digest-a: 1 verdict outside the range of both debaters' scores",
        "see them: orchestrate export, column flags",
        CONSTANT,
        "jobs: replies taken out of what they came in (fenced): 1,200",
        "jobs: replies refused for contradiction: 2",
    ]


def test_run_says_its_doubts() -> None:
    lines = doubts.of_run({Flag.OUTSIDE: 2}, {Mark.PROSE: 7}, {Guard.SHAPE: 3, Guard.CONTRADICTION: 1})

    assert list(lines) == [
        "2 verdicts outside the range of both debaters' scores",
        "replies taken out of what they came in (prose): 7",
        "replies refused: shape 3, contradiction 1",
    ]


def test_nothing_is_said_without_doubt() -> None:
    assert list(doubts.of_database(NONE)) == list(doubts.of_run({}, {}, {})) == []


@pytest.mark.parametrize("mark", Mark)
def test_every_mark_has_words(mark: Mark) -> None:
    (line,) = doubts.of_run({}, {mark: 1200}, {})

    assert line.endswith(": 1,200")


def test_fallback_is_said_of_turn_and_verdict() -> None:
    lines = doubts.of_run({Flag.FALLBACK: 1}, {Mark.FALLBACK_MODEL: 2, Mark.FALLBACK_CONTEXT: 3}, {})

    assert list(lines) == [
        "1 verdict that a fallback model or a smaller context had a part in",
        "turns spoken by a fallback model, for want of memory: 2",
        "turns spoken in a smaller context, for want of memory: 3",
    ]


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_has_words(flag: Flag) -> None:
    (line,) = doubts.of_run({flag: 1}, {}, {})

    assert line.startswith("1 verdict ")


def test_shown_debate_carries_marks_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    attempt = Attempt(
        step=LAST,
        attempt=1,
        endpoint=ENDPOINT,
        error_class=ErrorClass.SHAPE,
        error="the reply contradicts itself",
        reply="",
        started_at=at(4),
        finished_at=at(5),
        guard=Guard.CONTRADICTION,
        asks=2,
    )
    judged = replace(turn(LAST), marks=(Mark.FENCED, Mark.PROSE), asks=3)

    debates.shown([Shown(detail=detail((turn(), judged), (attempt,)), marks=())], json=False)

    out = capsys.readouterr().out
    assert "judge, round 1 · qwen (ollama) · 900 + 100 tokens, 2.00 s, asked 3 times, fenced, prose\n" in out
    assert "advocate, round 1 · qwen (ollama) · 900 + 100 tokens, 2.00 s\n" in out
    assert "failed attempt 1 of the judge, round 1 (shape), asked 2 times\n" in out
    assert "verdict: 9 (apply), flagged: outside\n" in out


def detail(turns: tuple[Turn, ...], attempts: tuple[Attempt, ...]) -> TaskDetail:
    return TaskDetail(
        task_id=TaskId(1),
        source="jobs.jsonl",
        key="a",
        revision=1,
        payload={"title": "title of a"},
        debate="jobs",
        digest=DIGEST,
        status=TaskStatus.DONE,
        step=None,
        tries=0,
        error_class=None,
        not_before=None,
        created_at=at(0),
        finished_at=at(9),
        turns=turns,
        attempts=attempts,
        verdict=Verdict(score=9, label="apply", flags=(Flag.OUTSIDE,)),
    )
