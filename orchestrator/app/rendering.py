"""One record rendered for every step of a debate, before a night is spent on a template that does not take it.

No model is called: earlier turns are filled in, once as short as they can be and once as long as their card allows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.app.findings import Finding, bad, good, note
from orchestrator.app.tokens import CHARACTERS_A_TOKEN
from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.messages import Script
from orchestrator.debate.order import steps
from orchestrator.debate.replies import score_field
from orchestrator.domain import Backend, Payload, Role, Step, Turn, Usage
from orchestrator.errors import DeterministicError, IntakeError, StoreError
from orchestrator.ports import Message

_SAMPLE = "sample.jsonl"
_LOOKED_THROUGH = 50  # pending records, of which the longest is rendered
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """The record that is rendered, and where it is from."""

    key: str
    payload: Payload
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The prompt of one step, with the shortest earlier turns there can be.

    Attributes:
        tokens: about how many tokens it has.
        most_tokens: about how many it has when earlier replies are as long as their cards allow.
        context, reply_limit: of the card, in tokens.
    """

    role: Role
    round: int
    card: str
    model: str
    messages: tuple[Message, ...]
    tokens: int
    most_tokens: int
    context: int
    reply_limit: int

    @property
    def most_room(self) -> int:
        """Tokens that the prompt and its reply take at most."""
        return self.most_tokens + self.reply_limit


def specimen(workplace: Workplace, debate: Debate) -> Specimen | None:
    """The longest of the next pending records; without any, the first of the debate's sample that can be read."""
    pending = []
    with suppress(StoreError), workplace.reading() as reading:
        pending = reading.pending(debate.name, _LOOKED_THROUGH)
    if pending:
        longest = max(pending, key=lambda draft: len(json.dumps(draft.payload, ensure_ascii=False)))
        return Specimen(key=longest.key, payload=longest.payload, source="pending")
    return _of_sample(workplace, debate)


def _of_sample(workplace: Workplace, debate: Debate) -> Specimen | None:
    # PyArrow comes with it.
    from orchestrator.records.read import open_records
    from orchestrator.records.record import Good, RecordSpec

    path = workplace.folders.find("prompts", debate.name, _SAMPLE)
    if path is None:
        return None
    fields = debate.fields
    spec = RecordSpec(key=fields.key, required=tuple(fields.required), optional=tuple(fields.optional))
    with suppress(IntakeError):
        for record in open_records(path, spec):
            if isinstance(record, Good):
                return Specimen(key=record.key, payload=record.payload, source=_SAMPLE)
    return None


def rendered(debate: Debate, payload: Payload) -> list[Rendered]:
    """The prompts of all steps of a debate for one record.

    Raises:
        DeterministicError: a template does not take the record; the message names the template.
    """
    script = Script(debate, payload)
    return [_rendered(debate, script, number, step) for number, step in enumerate(steps(debate))]


def _rendered(debate: Debate, script: Script, number: int, step: Step) -> Rendered:
    actor = debate.actor(step.role)
    before = steps(debate)[:number]
    messages = script.messages(step, [_turn(debate, each, "…") for each in before])
    longest = [_turn(debate, each, "x" * _longest(debate, each)) for each in before]
    return Rendered(
        role=step.role,
        round=step.round,
        card=actor.card,
        model=actor.model,
        messages=messages,
        tokens=_tokens(messages),
        most_tokens=_tokens(script.messages(step, longest)),
        context=actor.sampling.context,
        reply_limit=actor.sampling.reply_limit,
    )


def _longest(debate: Debate, step: Step) -> int:
    """Characters of the longest reply at a step."""
    return math.ceil(debate.actor(step.role).sampling.reply_limit * CHARACTERS_A_TOKEN)


def _turn(debate: Debate, step: Step, analysis: str) -> Turn:
    return Turn(
        role=step.role,
        round=step.round,
        model=step.model,
        backend=Backend.REHEARSAL,
        endpoint="",
        text="",
        reply={"analysis": analysis, "evidence": [], score_field(step.role): debate.scale.maximum},
        quotes=(),
        prompt_hash="",
        asks=1,
        attempt=1,
        usage=Usage(),
        started_at=_NEVER,
        finished_at=_NEVER,
    )


def _tokens(messages: Sequence[Message]) -> int:
    return math.ceil(sum(len(message.content) for message in messages) / CHARACTERS_A_TOKEN)


def look_at_prompts(workplace: Workplace, debate: Debate) -> tuple[list[Rendered], list[Finding]]:
    """A debate's prompts for one record, and what there is to say about them."""
    about = f"prompts of {debate.name}"
    found = specimen(workplace, debate)
    if found is None:
        advice = f"submit records, or put one into prompts/{debate.name}/{_SAMPLE}"
        return [], [note(about, f"there is no record to render them with: {advice}")]
    where = f"record {found.key!r} ({found.source})"
    try:
        prompts = rendered(debate, found.payload)
    except DeterministicError as error:
        return [], [bad(about, f"{where}: {error}; mend the template, or the record")]
    sizes = ", ".join(f"{_step(debate, each)} {each.tokens:,} to {each.most_tokens:,}" for each in prompts)
    first = good(about, f"{where} is rendered for all cards, in tokens about: {sizes}")
    return prompts, [first, *_sizes(about, debate, prompts)]


def _sizes(about: str, debate: Debate, prompts: Sequence[Rendered]) -> Iterator[Finding]:
    for each in prompts:
        card = f"{_step(debate, each)} (actors/{each.card}.toml)"
        if each.tokens > each.context:
            text = f"{card}: a prompt of about {each.tokens:,} tokens does not fit its context of {each.context:,}"
            yield bad(about, f"{text}: raise context in the card, or shorten record.md")
        elif each.most_room > each.context:
            text = f"{card}: with long earlier replies its prompt and reply take about {each.most_room:,} tokens"
            yield note(about, f"{text}, its context is {each.context:,}: raise context, or lower reply_limit")


def _step(debate: Debate, prompt: Rendered) -> str:
    return prompt.role.value if debate.protocol.rounds == 1 else f"{prompt.role.value} {prompt.round}"
