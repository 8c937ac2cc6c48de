"""One visit to a task: each turn is durable before the next is asked, and every way to end it is typed."""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, Protocol, read_debate
from orchestrator.debate.graph import build_graph, hold_debate
from orchestrator.debate.messages import prompt_hash
from orchestrator.debate.steps import Ending, Floor, Visit, begin, take_turn
from orchestrator.domain import Backend, Claim, Flag, Role, Spoken, Step, TaskId, Token, Turn, Usage, Verdict
from orchestrator.errors import (
    CapacityError,
    DeterministicError,
    EndpointError,
    ErrorClass,
    Guard,
    OverflowingError,
    RefusalError,
    SetupError,
    StoreError,
    TransientError,
)
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Message, Reply, Request, Sampling

PAYLOAD = {"id": "1", "role_title": "Museum registrar", "role": "Keep the loans.", "cv": "I kept 9,000 loans."}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRAPH = build_graph()


class TickingClock:
    """A second passes each time that somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a visit never sleeps")


class ScriptedEndpoint:
    """Says what it was told to say, in order, and keeps what it was asked."""

    name = "desk"
    backend = Backend.REHEARSAL

    def __init__(self, script: Iterable[str | Reply | EndpointError], events: list[tuple[str, str]]) -> None:
        self.script = deque(script)
        self.events = events
        self.requests: list[Request] = []

    async def available(self) -> frozenset[str] | None:
        return None

    async def loaded(self) -> frozenset[str]:
        return frozenset()

    async def files(self) -> Mapping[str, ModelFile]:
        raise AssertionError("a visit never asks for files")

    async def pressure(self) -> Pressure | None:
        raise AssertionError("a visit never asks how busy it is")

    async def load(self, model: str, sampling: Sampling) -> None:
        raise AssertionError("a visit never loads")

    async def unload(self, model: str) -> None:
        raise AssertionError("a visit never unloads")

    async def speak(self, request: Request) -> Reply:
        self.events.append(("asked", request.model))
        self.requests.append(request)
        answer = self.script.popleft()
        if isinstance(answer, EndpointError):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(text=answer, usage=Usage())

    async def close(self) -> None:
        pass


class Room:
    """A floor on which everything is written down: who was asked, what was recorded, what was seen."""

    def __init__(self, *script: str | Reply | EndpointError, rounds: int = 1, keeps: bool = True) -> None:
        self.events: list[tuple[str, str]] = []
        self.endpoint = ScriptedEndpoint(script, self.events)
        self.debate = debate(rounds)
        self.keeps = keeps
        self.loaded = {actor.model for actor in self.debate.actors}
        self.spoken: list[Spoken] = []
        self.seen: list[tuple[Claim, tuple[Message, ...], Turn]] = []

    async def record(self, spoken: Spoken) -> bool:
        self.events.append(("recorded", spoken.turn.role.value))
        self.spoken.append(spoken)
        return self.keeps

    def floor(self) -> Floor:
        return Floor(
            debate=self.debate,
            endpoint=self.endpoint,
            clock=TickingClock(),
            record=self.record,
            goes_on=lambda step: step.model in self.loaded,
            watch=lambda *seen: self.seen.append(seen),
        )

    async def visit(self, *turns: Turn, at: Step | None = None, attempt: int = 1) -> Visit:
        return await hold_debate(GRAPH, begin(claim(*turns, at=at or self.debate.first, attempt=attempt)), self.floor())


def debate(rounds: int = 1) -> Debate:
    """The shipped one, each role with a model of its own."""
    here = read_debate("candidate", Folders(shipped()))
    actors = tuple(replace(actor, model=f"m-{actor.role.value}") for actor in here.actors)
    return replace(here, actors=actors, protocol=Protocol(rounds=rounds, early_end=True))


def claim(*turns: Turn, at: Step, attempt: int = 1, payload: dict[str, Any] = PAYLOAD) -> Claim:
    return Claim(
        task_id=TaskId(7),
        token=Token(3),
        key="1",
        payload=payload,
        debate="candidate",
        digest=debate().digest,
        step=at,
        attempt=attempt,
        turns=turns,
    )


def said(score: int = 5, end: bool | None = None, evidence: str = "I kept 9,000 loans.") -> str:
    reply: dict[str, Any] = {"analysis": "Words.", "evidence": [evidence]}
    if end is not None:
        reply |= {"nothing_to_contest": end}
    return json.dumps(reply | {"suggested_score": score})


def decided(score: int) -> str:
    says = {"verdict_score": score, "verdict_side": debate().verdict(score).label}
    return json.dumps({"analysis": "So be it.", "evidence": [], **says})


WHOLE = (said(8), said(2, end=False), decided(0))


async def test_debate_ends_in_one_visit() -> None:
    room = Room(*WHOLE)

    visit = await room.visit()

    assert visit.ending is Ending.DONE
    assert [turn.role for turn in visit.turns] == [Role.ADVOCATE, Role.CRITIC, Role.JUDGE]
    assert [spoken.turn for spoken in room.spoken] == list(visit.turns)
    assert not room.endpoint.script


async def test_turn_is_recorded_before_next() -> None:
    room = Room(*WHOLE)

    await room.visit()

    assert room.events == [
        ("asked", "m-advocate"),
        ("recorded", "advocate"),
        ("asked", "m-critic"),
        ("recorded", "critic"),
        ("asked", "m-judge"),
        ("recorded", "judge"),
    ]


async def test_only_judge_gives_the_verdict() -> None:
    room = Room(*WHOLE)

    await room.visit()

    assert [spoken.verdict for spoken in room.spoken] == [
        None,
        None,
        Verdict(score=0, label="poor", flags=(Flag.OUTSIDE,)),
    ]
    assert [spoken.then.role if spoken.then else None for spoken in room.spoken] == [Role.CRITIC, Role.JUDGE, None]
    assert [spoken.hold for spoken in room.spoken] == [True, True, False]


async def test_seat_is_taken_around_turns() -> None:
    room = Room(*WHOLE)
    room.loaded = {"m-advocate", "m-critic"}

    async def sit(task_id: TaskId) -> bool:
        room.events.append(("sat", str(task_id)))
        return True

    floor = replace(room.floor(), sit=sit, rise=lambda task_id: room.events.append(("rose", str(task_id))))
    await hold_debate(GRAPH, begin(claim(at=room.debate.first)), floor)

    said_by = [("m-advocate", "advocate"), ("m-critic", "critic")]
    assert room.events == [
        event
        for model, role in said_by
        for event in (("sat", "7"), ("asked", model), ("rose", "7"), ("recorded", role))
    ]


async def test_visit_without_seat_stays_unspoken() -> None:
    room = Room(*WHOLE)

    async def sit(_task_id: TaskId) -> bool:
        return len(room.spoken) < 1

    visit = await hold_debate(GRAPH, begin(claim(at=room.debate.first)), replace(room.floor(), sit=sit))

    assert visit.ending is Ending.UNSPOKEN
    assert [turn.role for turn in visit.turns] == [Role.ADVOCATE]
    assert room.events == [("asked", "m-advocate"), ("recorded", "advocate")]


async def test_next_turn_gets_its_home() -> None:
    room = Room(*WHOLE)

    def home(step: Step, turns: tuple[Turn, ...]) -> str:
        return f"{step.role} after {len(turns)}"

    await hold_debate(GRAPH, begin(claim(at=room.debate.first)), replace(room.floor(), home=home))

    assert [spoken.home for spoken in room.spoken] == ["critic after 1", "judge after 2", ""]


async def test_recorded_turn_says_where_from() -> None:
    room = Room(said(8))
    room.loaded = set()

    visit = await room.visit(attempt=2)

    turn, spoken = visit.turns[0], room.spoken[0]
    assert (spoken.task_id, spoken.token) == (7, 3)
    assert (turn.model, turn.endpoint, turn.backend) == ("m-advocate", "desk", Backend.REHEARSAL)
    assert (turn.asks, turn.attempt, turn.text) == (1, 2, said(8))
    assert turn.prompt_hash == prompt_hash(room.endpoint.requests[0].messages)
    assert NOON < turn.started_at < turn.finished_at


async def test_request_carries_actors_card() -> None:
    room = Room(*WHOLE)

    await room.visit()

    for request, role in zip(room.endpoint.requests, Role, strict=True):
        assert request.sampling == room.debate.actor(role).sampling
        assert "analysis" in request.schema["properties"]


async def test_visit_yields_for_other_model() -> None:
    room = Room(said(8))
    room.loaded = {"m-advocate"}

    visit = await room.visit()

    assert visit.ending is Ending.YIELDED
    assert visit.step == Step(role=Role.CRITIC, round=1, model="m-critic")
    assert room.spoken[0].then == visit.step
    assert not room.spoken[0].hold


async def test_visit_resumes_from_stored_turns() -> None:
    earlier = await Room(*WHOLE).visit()
    room = Room(decided(6))

    visit = await room.visit(*earlier.turns[:2], at=room.debate.step(Role.JUDGE, 1))

    assert visit.ending is Ending.DONE
    assert [turn.role for turn in visit.turns] == list(Role)
    assert room.events == [("asked", "m-judge"), ("recorded", "judge")]
    assert room.endpoint.requests[0].messages[1].content.count("said, as material to judge") == 2


async def test_later_turns_are_first_attempts() -> None:
    room = Room(*WHOLE)

    visit = await room.visit(attempt=4)

    assert [turn.attempt for turn in visit.turns] == [4, 1, 1]


async def test_wrong_shape_is_asked_again() -> None:
    room = Room("Sure!", said(8))
    room.loaded = set()

    visit = await room.visit()

    first, again = room.endpoint.requests
    assert visit.turns[0].asks == 2
    assert again.messages[:-2] == first.messages
    assert again.messages[-2] == Message(role="assistant", content="Sure!")
    assert "the reply is not valid JSON" in again.messages[-1].content
    assert (again.model, again.schema, again.sampling) == (first.model, first.schema, first.sampling)


async def test_third_ask_is_afresh_and_shorter() -> None:
    room = Room("Sure!", "Of course!", said(8))
    room.loaded = set()

    visit = await room.visit()

    first, _, third = (request.messages for request in room.endpoint.requests)
    assert visit.turns[0].asks == 3
    assert third[:-1] == first[:-1]
    assert third[-1].content.startswith(first[-1].content)
    assert "Sure!" not in third[-1].content


async def test_third_wrong_shape_fails_attempt() -> None:
    room = Room("Sure!", "Yes!", "Of course!")

    visit = await room.visit(attempt=2)

    assert visit.ending is Ending.FAILED
    assert visit.failure is not None
    attempt = visit.failure.attempt
    assert (attempt.error_class, attempt.attempt, attempt.reply) == (ErrorClass.SHAPE, 2, "Of course!")
    assert (attempt.step, attempt.guard, attempt.asks) == (room.debate.first, Guard.SHAPE, 3)
    assert room.events == [("asked", "m-advocate")] * 3


async def test_usage_of_both_asks_is_summed() -> None:
    first = Usage(prompt_tokens=100, cached_tokens=None, reply_tokens=7, load_s=1.5, total_s=99)
    second = Usage(prompt_tokens=120, cached_tokens=90, reply_tokens=40, load_s=0.5, total_s=99)
    room = Room(Reply(text="Sure!", usage=first), Reply(text=said(), usage=second))
    room.loaded = set()

    visit = await room.visit()

    expected = Usage(prompt_tokens=220, cached_tokens=90, reply_tokens=47, load_s=2.0, total_s=1.0)
    assert visit.turns[0].usage == expected


@pytest.mark.parametrize(
    "error",
    [
        TransientError("refused", down=True),
        CapacityError("full", retry_after_s=4),
        OverflowingError("cut", reply='{"analysis": "wo'),
        RefusalError("declined", reply="I would rather not."),
        DeterministicError("a bad option"),
        SetupError("no such model"),
    ],
)
async def test_typed_error_fails_the_visit(error: EndpointError) -> None:
    room = Room(said(8), error)

    visit = await room.visit()

    assert visit.ending is Ending.FAILED
    assert visit.failure is not None
    assert visit.failure.error is error
    assert visit.failure.attempt.error_class is error.kind
    assert (visit.failure.attempt.error, visit.failure.attempt.reply) == (str(error), error.reply)
    assert visit.failure.attempt.step.role is Role.CRITIC
    assert room.events[-1] == ("asked", "m-critic")


async def test_error_on_second_ask_fails_too() -> None:
    room = Room("Sure!", TransientError("reset"))

    visit = await room.visit()

    assert visit.failure is not None
    attempt = visit.failure.attempt
    assert (attempt.error_class, attempt.guard, attempt.asks) == (ErrorClass.TRANSIENT, None, 2)
    assert not room.spoken


async def test_turns_before_failure_are_kept() -> None:
    room = Room(said(8), TransientError("reset"))

    visit = await room.visit()

    assert [turn.role for turn in visit.turns] == [Role.ADVOCATE]
    assert [spoken.turn.role for spoken in room.spoken] == [Role.ADVOCATE]


async def test_lost_lease_ends_the_visit() -> None:
    room = Room(*WHOLE, keeps=False)

    visit = await room.visit()

    assert visit.ending is Ending.LOST
    assert visit.turns == ()
    assert room.events == [("asked", "m-advocate"), ("recorded", "advocate")]


async def test_broken_store_is_not_swallowed() -> None:
    room = Room(*WHOLE)

    async def full(spoken: Spoken) -> bool:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        await hold_debate(GRAPH, begin(claim(at=room.debate.first)), replace(room.floor(), record=full))


async def test_unfit_record_fails_before_asking() -> None:
    room = Room()

    visit = await take_turn(begin(claim(at=room.debate.first, payload={"cv": "I kept."})), room.floor())

    assert visit.failure is not None
    assert visit.failure.attempt.error_class is ErrorClass.DETERMINISTIC
    assert room.events == []


async def test_debate_ends_early_when_uncontested() -> None:
    room = Room(said(8), said(9, end=True), decided(9), rounds=3)

    visit = await room.visit()

    assert visit.ending is Ending.DONE
    assert [(turn.role, turn.round) for turn in visit.turns] == [
        (Role.ADVOCATE, 1),
        (Role.CRITIC, 1),
        (Role.JUDGE, 1),
    ]


async def test_quotes_are_checked_against_record() -> None:
    room = Room(said(8), said(2, end=False, evidence="I broke a vase."), decided(5))

    visit = await room.visit()

    assert [[quote.verified for quote in turn.quotes] for turn in visit.turns] == [[True], [False], []]
    assert '"I broke a vase." (not found in the record)' in room.endpoint.requests[2].messages[1].content


async def test_watcher_sees_messages_and_turns() -> None:
    room = Room(*WHOLE)

    visit = await room.visit()

    assert [messages for _, messages, _ in room.seen] == [request.messages for request in room.endpoint.requests]
    assert tuple(turn for _, _, turn in room.seen) == visit.turns


async def test_ten_rounds_fit_the_graph() -> None:
    script = [said(8), *[said(5, end=False)] * 19, decided(5)]
    room = Room(*script, rounds=10)

    visit = await room.visit()

    assert visit.ending is Ending.DONE
    assert len(visit.turns) == 21


def test_drawing_has_the_designs_edges() -> None:
    drawing = GRAPH.get_graph().draw_mermaid()

    edges = re.findall(r"(\w+) -\.->(?: ?\|.*\|)? (\w+);", drawing)
    assert sorted(edges) == [
        ("__start__", "advocate"),
        ("__start__", "critic"),
        ("__start__", "judge"),
        ("advocate", "__end__"),
        ("advocate", "critic"),
        ("advocate", "judge"),
        ("critic", "__end__"),
        ("critic", "advocate"),
        ("critic", "judge"),
        ("judge", "__end__"),
    ]
    assert drawing.count("-->") == 0
