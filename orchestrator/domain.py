"""The nouns of the program as plain frozen values: nothing here reads, writes or waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from orchestrator.errors import ErrorClass, Guard

JobId = NewType("JobId", int)
TaskId = NewType("TaskId", int)
RunId = NewType("RunId", int)
Digest = NewType("Digest", str)
Token = NewType("Token", int)

Payload = Mapping[str, Any]


class Role(StrEnum):
    """What an actor does in a debate."""

    ADVOCATE = "advocate"  # argues for
    CRITIC = "critic"  # argues against
    JUDGE = "judge"  # decides


class Backend(StrEnum):
    """The kind of an endpoint."""

    OLLAMA = "ollama"  # Ollama's native chat
    VLLM = "vllm"  # any OpenAI-compatible server
    LLAMACPP = "llamacpp"  # a GGUF file served in this process
    REHEARSAL = "rehearsal"  # no model: lexical cues, for demos and tests


class TaskStatus(StrEnum):
    """Where a task stands. `MOVES` holds the legal moves."""

    PENDING = "pending"  # nobody holds it; set by submit, release, rescue and retry
    LEASED = "leased"  # a worker holds it; set by claim
    DONE = "done"  # a verdict exists; set together with the judge's turn
    FAILED = "failed"  # no attempts left; set with the last attempt's error
    CANCELLED = "cancelled"  # a person said so
    SUPERSEDED = "superseded"  # a newer digest or payload replaced it before it was done


MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: frozenset({TaskStatus.LEASED, TaskStatus.CANCELLED, TaskStatus.SUPERSEDED}),
    TaskStatus.LEASED: frozenset(
        {TaskStatus.PENDING, TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SUPERSEDED}
    ),
    TaskStatus.DONE: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
    TaskStatus.CANCELLED: frozenset({TaskStatus.PENDING}),
    TaskStatus.SUPERSEDED: frozenset({TaskStatus.PENDING}),  # its digest came back
}


class RunStatus(StrEnum):
    """How an invocation of `process-pending` stands or ended."""

    RUNNING = "running"  # its process is alive, as far as we know
    DONE = "done"  # nothing claimable was left, or the limit asked for was reached
    INTERRUPTED = "interrupted"  # a person or a signal ended it; its tasks were released
    FAILED = "failed"  # it stopped on an error that it said
    LOST = "lost"  # its process died; found by a later run, which put its tasks back


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Who speaks next: a role, the round (from 1) and the model it speaks with."""

    role: Role
    round: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """One record ready to be stored: `payload` is a JSON object, `key` is unique in its source."""

    key: str
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What `submit` stores: into which source, and the task each new job gets."""

    source: str
    debate: str
    digest: Digest
    first: Step
    priority: int = 0
    update: bool = False  # a changed payload under a known key becomes a new revision
    again: bool = False  # known jobs judged under another digest get a task under this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """Counts of one batch; `changed` are the keys whose payload differs and was left alone."""

    added: int = 0
    known: int = 0
    updated: int = 0
    again: int = 0
    judged_before: int = 0  # known, and done under another digest only
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A sentence an actor gave as evidence, and whether the record holds it after normalisation."""

    text: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and times of one call. Times are in seconds; None where the server does not tell."""

    prompt_tokens: int | None = None  # all tokens of the prompt, cached ones included
    cached_tokens: int | None = None  # those of them that the server had in its prefix cache
    reply_tokens: int | None = None
    load_s: float | None = None  # waiting for the model to be loaded
    prompt_s: float | None = None  # reading the prompt
    reply_s: float | None = None  # writing the reply
    total_s: float = 0.0  # from our side of the wire, re-asks included


class Mark(StrEnum):
    """What a reader should know of how a turn came about: what was taken off its reply, or who stood in. Counted."""

    FENCED = "fenced"  # a Markdown fence stood around its object
    PROSE = "prose"  # words stood before or after its object
    THOUGHT = "thought"  # thinking stood before its object, up to </think>
    FALLBACK_MODEL = "fallback_model"  # memory was short: the model spoke that the card names for this
    FALLBACK_CONTEXT = "fallback_context"  # memory was short: it was spoken in the smaller context of the card


class Flag(StrEnum):
    """What a person should look at before believing a verdict. It is kept all the same."""

    OUTSIDE = "outside"  # its score lies outside the range of the scores that the debaters suggested
    FALLBACK = "fallback"  # a turn of its debate was spoken by a fallback model, or in a smaller context


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one actor said for one task. `reply` is the parsed, validated text."""

    role: Role
    round: int
    model: str
    backend: Backend
    endpoint: str
    text: str
    reply: Payload
    quotes: tuple[Quote, ...]
    prompt_hash: str  # sha256 of the rendered messages, hexadecimal
    asks: int  # calls this turn took: 1, or more where the reply had to be asked for again
    attempt: int
    usage: Usage
    started_at: datetime
    finished_at: datetime
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judge's decision on the debate's declared scale; the label follows from the score."""

    score: int
    label: str
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to speak for one task until the lease runs out, and all that is needed to do so."""

    task_id: TaskId
    token: Token
    key: str
    payload: Payload
    debate: str
    digest: Digest
    step: Step
    attempt: int  # which try at `step` this is, from 1
    turns: tuple[Turn, ...]  # spoken so far, in order of speaking


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A finished turn on its way into the store.

    Exactly one of `then` and `verdict` is set. With `hold` the worker keeps its lease to speak `then` at once.
    `home` is the endpoint that should speak `then`, because it has spoken with that model before; "" for any.
    """

    task_id: TaskId
    token: Token
    turn: Turn
    then: Step | None = None
    verdict: Verdict | None = None
    hold: bool = False
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A failed try at a turn."""

    step: Step
    attempt: int
    endpoint: str
    error_class: ErrorClass
    error: str
    reply: str  # what the server did say; may be empty
    started_at: datetime
    finished_at: datetime
    guard: Guard | None = None  # the check that refused the reply, if one did
    asks: int = 1  # calls of the model that it took


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A failed attempt on its way into the store.

    Attributes:
        retry_at: when the task may be claimed again; None makes it `failed`.
        counted: whether the attempt counts against the task; outages do not.
    """

    task_id: TaskId
    token: Token
    attempt: Attempt
    retry_at: datetime | None
    counted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A change of what an endpoint has loaded; `seconds` from the drained endpoint to the loaded model."""

    endpoint: str
    unloaded: tuple[str, ...]
    loaded: str
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What an endpoint shared by several runs has loaded, as the runs agreed.

    `version` grows with each swap; a claim made under an older version finds nothing.
    """

    endpoint: str
    loaded: tuple[str, ...]
    version: int
    swapping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Turns that wait for one step under one digest, at one priority.

    `fresh` turns are the first of their task; the others belong to tasks already begun. `home` is the endpoint that
    should speak them, "" for any.
    """

    digest: Digest
    step: Step
    fresh: bool
    priority: int
    home: str
    ready: int  # claimable now
    later: int  # backing off until their retry time
    next_at: datetime | None  # when the first of `later` becomes claimable

    @property
    def model(self) -> str:
        """The model they wait for."""
        return self.step.model
