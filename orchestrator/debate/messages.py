"""What an actor is told, in an order that servers can reuse: shared text, the record, the turns so far, the role.

Records and other actors' words are material. Each stands between two lines with a code that is a hash of the
material itself and of the debate's digest: whoever writes the material cannot know the code, for it would have to
be part of what it is computed from; the same task gives the same code, so that a server's prefix cache is of use
and a repeated run gives the same prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import TemplateError

from orchestrator.cast import Debate
from orchestrator.debate.material import as_argument, as_material
from orchestrator.debate.quotes import normalised
from orchestrator.debate.replies import score_field
from orchestrator.domain import Payload, Role, Step, Turn
from orchestrator.errors import DeterministicError
from orchestrator.ports import Message
from orchestrator.templates import render

_SPEAKERS = {Role.ADVOCATE: "Debater A", Role.CRITIC: "Debater B", Role.JUDGE: "The judge"}
_CODE_LENGTH = 16


class Script:
    """Everything one task's actors are told; the record is rendered once.

    Raises:
        DeterministicError: the record does not fill its template.
    """

    def __init__(self, debate: Debate, payload: Payload) -> None:
        known = dict.fromkeys(debate.fields.required + debate.fields.optional)
        try:
            self.record = render(debate.record, {**known, **payload})
        except TemplateError as error:
            raise DeterministicError(f"record.md of {debate.name} does not take this record: {error}") from error
        self.normalised_record = normalised(self.record)
        self._debate = debate
        self._parts = [_fenced("RECORD", self.record, debate.digest)]

    def messages(self, step: Step, turns: Sequence[Turn]) -> tuple[Message, ...]:
        """The messages for who speaks next, given the turns so far in order of speaking."""
        rules, task = _prompts(_ByIdentity(self._debate), step.role, step.round)
        spoken = [self._statement(turn) for turn in turns]
        parts = ["The record, as material to judge:", *self._parts, *spoken, task]
        return Message(role="system", content=rules), Message(role="user", content="\n\n".join(parts))

    def _statement(self, turn: Turn) -> str:
        # A quote is one line: a second one could be taken for a quote that was found.
        quotes = [(" ".join(quote.text.split()), quote.verified) for quote in turn.quotes]
        marks = "\n".join(f'- "{text}"' + ("" if found else " (not found in the record)") for text, found in quotes)
        text = "\n".join(
            [
                as_argument(str(turn.reply["analysis"])),
                f"Quotes:\n{marks}" if marks else "Quotes: none",
                f"Suggested score: {turn.reply[score_field(turn.role)]}",
            ]
        )
        name = f"{_SPEAKERS[turn.role]}, round {turn.round}"
        return f"{name} said, as material to judge:\n" + _fenced("STATEMENT", text, self._debate.digest, self.record)


@dataclass(frozen=True, slots=True, eq=False)
class _ByIdentity:
    """A debate as a key: the same object is the same definition."""

    debate: Debate

    def __hash__(self) -> int:
        return id(self.debate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.debate is self.debate


@lru_cache(maxsize=256)
def _prompts(key: _ByIdentity, role: Role, round: int) -> tuple[str, str]:
    """The rules and the role's own prompt: the same for every record."""
    debate = key.debate
    variables = debate.variables(round)
    try:
        return render(debate.rules, variables), render(debate.actor(role).prompt, variables)
    except TemplateError as error:
        raise DeterministicError(f"a prompt of {debate.name} cannot be rendered: {error}") from error


def prompt_hash(messages: Sequence[Message]) -> str:
    """sha256 of the rendered messages, hexadecimal."""
    return hashlib.sha256("".join(f"{each.role}\0{each.content}\0" for each in messages).encode()).hexdigest()


def _fenced(kind: str, material: str, *salt: str) -> str:
    material = as_material(material)
    code = hashlib.sha256("\0".join((*salt, material)).encode()).hexdigest()[:_CODE_LENGTH]
    return f"<<<{kind} {code}>>>\n{material}\n<<<END {kind} {code}>>>"
