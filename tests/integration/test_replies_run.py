"""Replies of every form on their way through a real run: which become verdicts, which do not, and what each cost."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.looking import constant_judges, export, show, status
from orchestrator.backends.ollama import OllamaEndpoint
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.debate.repair import MOST_ASKS
from orchestrator.domain import Flag, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.ports import Message, Request, Sampling
from orchestrator.store.reading_rows import TaskDetail
from tests.integration.places import run_here, workplace
from tests.servers.hostile import HostileServer, says
from tests.servers.ollama import OllamaStandIn
from tests.servers.ollama_replies import default_reply

MODEL = "qwen2.5:7b"
CAST = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
MOST_ATTEMPTS = 5

Form = Callable[[str], str]


@dataclass
class Judge:
    """Gives its first so many replies another form, and counts how often it is asked."""

    form: Form
    times: int = 1000
    asked: int = 0

    def __call__(self, body: dict[str, Any]) -> str:
        said = default_reply(body)
        if "verdict_score" not in body["format"]["properties"]:
            return said
        self.asked += 1
        return self.form(said) if self.asked <= self.times else said


async def judged(home: Path, judge: Judge) -> TaskDetail:
    """The one task of a run with this judge."""
    async with OllamaStandIn(models=[MODEL], slots=1, num_ctx=8192, reply=judge) as server:
        settings = f'max_attempts = {MOST_ATTEMPTS}\n[endpoints.gpu]\nbackend = "ollama"\nurl = "{server.url}"\n'
        place = workplace(home, CAST, settings, records=1)
        await run_here(place)
    (shown,) = show(place, "posting-001", None)
    return shown.detail


@pytest.mark.parametrize(
    ("form", "marks"),
    [
        (lambda said: f"```json\n{said}\n```", ["fenced"]),
        (lambda said: f"My verdict:\n{said}\nThank you.", ["prose"]),
        (lambda said: f"<think>Low, I think.</think>\n{said}", ["thought"]),
        (lambda said: said + "\n" * 500, []),
    ],
)
async def test_wrapped_verdict_is_one_call(tmp_path: Path, form: Form, marks: list[str]) -> None:
    judge = Judge(form)

    detail = await judged(tmp_path / "place", judge)

    assert (detail.status, judge.asked, detail.attempts) == (TaskStatus.DONE, 1, ())
    assert list(detail.turns[-1].marks) == marks


SINS: dict[str, tuple[Form, str]] = {
    "half": (lambda said: said[:-9], "shape"),
    "twice": (lambda said: f"{said}\n{said}", "shape"),
    "nested": (lambda said: json.dumps({"reply": json.loads(said)}), "shape"),
    "braces": (lambda said: f"{{{said}}}", "shape"),
    "enum": (lambda said: said.replace("genuine", "Genuine!"), "shape"),
    "NaN": (lambda said: said.replace('"verdict_score": 0', '"verdict_score": NaN'), "shape"),
    "duplicate": (lambda said: said.replace('"evidence"', '"analysis": "b", "evidence"'), "shape"),
    "nothing": (lambda _said: "", "shape"),
    "space": (lambda _said: "{" + " " * 90_000, "shape"),
    "contradiction": (lambda said: said.replace("genuine", "formality"), "contradiction"),
}


@pytest.mark.parametrize("sin", SINS)
async def test_sin_is_never_a_verdict(tmp_path: Path, sin: str) -> None:
    form, guard = SINS[sin]
    judge = Judge(form)

    detail = await judged(tmp_path / "place", judge)

    assert (detail.status, detail.verdict, detail.error_class) == (TaskStatus.FAILED, None, ErrorClass.SHAPE)
    assert {attempt.guard for attempt in detail.attempts} == {guard}
    assert judge.asked == sum(attempt.asks for attempt in detail.attempts) <= MOST_ASKS * MOST_ATTEMPTS


@pytest.mark.parametrize(
    ("forms", "asked"),
    [
        (("contradiction",), [2]),
        (("half", "contradiction"), [3]),
        (("contradiction", "half", "half", "contradiction"), [3, 2]),
    ],
)
async def test_contradiction_is_asked_about_in_one_attempt(
    tmp_path: Path, forms: tuple[str, ...], asked: list[int]
) -> None:
    turns = iter(forms)
    judge = Judge(lambda said: SINS[next(turns, "contradiction")][0](said))

    detail = await judged(tmp_path / "place", judge)

    assert [attempt.asks for attempt in detail.attempts] == asked
    assert detail.attempts[-1].guard == "contradiction"
    assert (detail.status, judge.asked) == (TaskStatus.FAILED, sum(asked))


@pytest.mark.parametrize(("sin", "times"), [("half", 1), ("half", 2), ("contradiction", 1)])
async def test_ladder_mends_what_can_be_mended(tmp_path: Path, sin: str, times: int) -> None:
    judge = Judge(SINS[sin][0], times)

    detail = await judged(tmp_path / "place", judge)

    assert (detail.status, detail.attempts) == (TaskStatus.DONE, ())
    assert judge.asked == detail.turns[-1].asks == times + 1


def outside(said: str) -> str:
    return said.replace("0", "9").replace("genuine", "formality")


async def test_judge_outside_range_is_kept_and_flagged(tmp_path: Path) -> None:
    judge = Judge(outside)

    detail = await judged(tmp_path / "place", judge)

    assert detail.verdict is not None
    assert (detail.verdict.score, detail.verdict.flags) == (9, (Flag.OUTSIDE,))


async def test_constant_judge_is_said_and_flags_exported(tmp_path: Path) -> None:
    async with OllamaStandIn(models=[MODEL], slots=4, num_ctx=8192, reply=Judge(outside, times=3)) as server:
        settings = f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{server.url}"\n'
        place = workplace(tmp_path / "place", CAST, settings, records=25)
        flagged = await run_here(place, max_tasks=3)
        same = await run_here(place)

    export(place, tmp_path / "verdicts.csv", None, records=False, force=False)

    with (tmp_path / "verdicts.csv").open(newline="", encoding="utf-8-sig") as file:
        flags = [row["flags"] for row in csv.DictReader(file)]
    assert sorted(flags) == [""] * 22 + ["outside"] * 3
    assert (flagged.tally.flags, same.tally.flags) == ({Flag.OUTSIDE: 3}, {})
    assert constant_judges(place, flagged.run_id) == []
    (judge,) = constant_judges(place, same.run_id)
    assert (judge.model, judge.score, judge.count) == (MODEL, 0, 22)
    assert status(place).doubts.constant_judges == [judge]


REQUEST = Request(
    model="tiny",
    messages=(Message(role="system", content="You judge."), Message(role="user", content="Ten years.")),
    schema={"type": "object", "properties": {"analysis": {"type": "string"}}, "required": ["analysis"]},
    sampling=Sampling(temperature=0.0, seed=1, context=2048, reply_limit=100, timeout_s=5),
)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_openai_thinking_is_brought_back(field: str) -> None:
    message = {"content": None, field: "Hm."}
    async with HostileServer(says({"choices": [{"message": message, "finish_reason": "stop"}]})) as server:
        endpoint = OpenAIEndpoint(name="desk", wire=Wire(f"{server.url}/v1"))
        reply = await endpoint.speak(REQUEST)
        await endpoint.close()

    assert (reply.text, reply.thinking) == ("", "Hm.")


async def test_ollama_thinking_is_brought_back() -> None:
    message = {"role": "assistant", "content": "", "thinking": "Hm."}
    async with HostileServer(says({"message": message, "done": True, "done_reason": "stop"})) as server:
        endpoint = OllamaEndpoint(name="desk", wire=Wire(server.url), keep_alive="5m")
        reply = await endpoint.speak(REQUEST)
        await endpoint.close()

    assert (reply.text, reply.thinking) == ("", "Hm.")
