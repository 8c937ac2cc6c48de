"""What every contender is given: the same records, and the same words about them, rendered by the program's own script.

Two layouts. Append-only is the program's: the rules, the record, what was said, and last the role's own part. Role
first is what most people write: the role's part opens the system message, and nothing after it is shared by two roles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from benchmarks.model_server.profile import Profile
from benchmarks.model_server.prompts import Prompt, render
from benchmarks.model_server.wording import word
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.cast import Debate
from orchestrator.debate.messages import Script
from orchestrator.debate.quotes import check
from orchestrator.debate.replies import reply_form
from orchestrator.domain import Backend, Payload, Role, Turn, Usage
from orchestrator.ports import Message
from orchestrator.templates import render as fill_in
from tests.servers.ollama_replies import Tokens

SAMPLE = Path(__file__).parents[2] / "prompts/posting/sample.jsonl"
DEBATE = "posting"
ORDER = (Role.ADVOCATE, Role.CRITIC, Role.JUDGE)
_THEN = datetime(2026, 1, 1, tzinfo=UTC)


class Layout(Enum):
    """In what order a prompt says things."""

    APPEND = "append-only"
    ROLE_FIRST = "role first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call as the server will see it."""

    model: str
    prompt: Prompt
    reply_tokens: int


def records(count: int) -> list[Payload]:
    """The shipped sample over and over, each record with a line of its own: no two prompts are alike by accident."""
    lines = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    made = []
    for number in range(count):
        line = lines[number % len(lines)]
        made.append(line | {"id": f"{number:06d}", "text": f"{line['text']}\n\nReference {number:06d}"})
    return made


def workplace(home: Path, models: Mapping[Role, str], settings: str) -> Workplace:
    """A folder with a card for each role and these settings."""
    (home / "actors").mkdir(parents=True)
    for role, model in models.items():
        card = f'role = "{role.value}"\nmodel = "{model}"\nprompt = "{role.value}.md"\ntimeout_s = 3600\n'
        (home / "actors" / f"{role.value}.toml").write_text(card, encoding="utf-8")
    (home / "orchestrate.toml").write_text(settings, encoding="utf-8")
    return open_workplace(home, {})


class Dialogue:
    """One record's debate as a client without a scheduler keeps it: what was said, and what to say next."""

    def __init__(self, debate: Debate, payload: Payload, layout: Layout = Layout.APPEND) -> None:
        self.turns: tuple[Turn, ...] = ()
        self._debate = debate
        self._script = Script(debate, payload)
        self._layout = layout

    def model(self, role: Role) -> str:
        """The model that plays a role."""
        return self._debate.actor(role).model

    def schema(self, role: Role) -> Mapping[str, Any]:
        """The form of a role's reply."""
        return reply_form(self._debate, role, 1).schema

    def messages(self, role: Role) -> list[dict[str, str]]:
        """What a role is told now."""
        rules, user = self._script.messages(self._debate.step(role, 1), self.turns)
        both = (rules, user) if self._layout is Layout.APPEND else self._role_first(role, rules, user)
        return [{"role": message.role, "content": message.content} for message in both]

    def hear(self, role: Role, text: str) -> None:
        """Keep what a role said."""
        reply = reply_form(self._debate, role, 1).read(text).fields
        turn = Turn(
            role=role,
            round=1,
            model=self.model(role),
            backend=Backend.OLLAMA,
            endpoint="",
            text=text,
            reply=reply,
            quotes=check(reply["evidence"], self._script.normalised_record),
            prompt_hash="",
            asks=1,
            attempt=1,
            usage=Usage(),
            started_at=_THEN,
            finished_at=_THEN,
        )
        self.turns = (*self.turns, turn)

    def _role_first(self, role: Role, rules: Message, user: Message) -> tuple[Message, Message]:
        part = fill_in(self._debate.actor(role).prompt, self._debate.variables(1))
        # The profile tells a judge's reply from the others' by the last message, so that says once more who speaks.
        name = part.partition(".")[0] + "."
        system = f"{part}\n\n{rules.content}"
        said = user.content.removesuffix(part).rstrip()
        return Message(role="system", content=system), Message(role="user", content=f"{said}\n\n{name}")


def foreseen(debate: Debate, payloads: Sequence[Payload], profile: Profile) -> list[list[Asked]]:
    """Every call of every debate, worked out without a server: what it says follows from the prompt alone."""
    return [_foreseen(Dialogue(debate, payload), profile) for payload in payloads]


def _foreseen(dialogue: Dialogue, profile: Profile) -> list[Asked]:
    rule = Tokens(chars_per_token=profile.replies.chars_per_token)
    calls = []
    for role in ORDER:
        messages = dialogue.messages(role)
        prompt = render(messages, rule)
        said = word({"messages": messages, "format": dialogue.schema(role)}, prompt, profile.replies, rule)
        calls.append(Asked(model=dialogue.model(role), prompt=prompt, reply_tokens=said.tokens))
        dialogue.hear(role, said.text)
    return calls
