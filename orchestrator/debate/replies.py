"""What an actor may answer: a JSON schema for the server, and the same rules again for what comes back.

The fields stand in an order that is right both as declared and alphabetically, reasoning before decision,
because some servers sort the keys of a schema. A judge's last field says in a word what its score says as a number:
the two are compared, and a reply in which they differ is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from orchestrator.cast import Debate, Label, explain
from orchestrator.debate.unwrap import WrappedError, unwrapped
from orchestrator.domain import Mark, Role
from orchestrator.errors import ContradictionError, ShapeError
from orchestrator.strict_json import JsonError, parse_object

MOST_QUOTES = 5
SIDE = "verdict_side"
_MOST_FIELDS = 50  # of a reply that is looked at at all
_LONGEST_PROBLEM = 400  # characters; a reply may have long names of fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A reply that can be used: its fields, and what its object came wrapped in."""

    fields: dict[str, Any]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForm:
    """The shape of one role's reply: `schema` goes to the server, `model` judges what it sends.

    `sides` are the labels that a judge may end on, from the lowest; a debater takes none.
    """

    schema: Mapping[str, Any]
    model: type[BaseModel]
    sides: tuple[Label, ...] = ()

    def read(self, text: str, thinking: str = "") -> Read:
        """The validated reply in what a model wrote; `thinking` is what it wrote apart from its reply.

        Raises:
            ShapeError: not one JSON object of exactly these fields; the message says what is wrong, and is shown
                to the model when it is asked again.
            ContradictionError: a judge's two fields of decision differ.
        """
        if thinking.strip() and not text.strip():
            raise ShapeError(
                f"the reply is empty: all {len(thinking)} characters that the model wrote are in its thinking field; "
                "turn thinking off on the server, or take another model",
                reply=thinking,
            )
        try:
            found = unwrapped(text)
            fields = parse_object(found.text)
            self._refuse_heap(fields)
            self.model.model_validate(fields)
        except WrappedError as error:
            raise ShapeError(f"the reply cannot be read: {error}", reply=text) from error
        except JsonError as error:
            raise ShapeError(f"the reply is not valid JSON: {_short(error)}", reply=text) from error
        except ValidationError as error:
            raise ShapeError(f"the reply has the wrong shape: {_short(explain(error))}", reply=text) from error
        self._refuse_contradiction(fields, text)
        return Read(fields=fields, marks=found.marks)

    def _refuse_heap(self, fields: Mapping[str, Any]) -> None:
        # Validation would keep an error for each of a million names.
        if len(fields) > _MOST_FIELDS:
            raise WrappedError(
                f"its object has {len(fields)} fields, and {len(self.model.model_fields)} were asked for"
            )

    def _refuse_contradiction(self, fields: Mapping[str, Any], text: str) -> None:
        for label in self.sides:
            score = fields[score_field(Role.JUDGE)]
            if label.first <= score <= label.last and label.name != fields[SIDE]:
                raise ContradictionError(
                    f"the reply contradicts itself: verdict_score {score} means {label.name}, "
                    f"but {SIDE} says {fields[SIDE]}",
                    reply=text,
                )


def _short(problem: object) -> str:
    text = str(problem)
    return text if len(text) <= _LONGEST_PROBLEM else f"{text[:_LONGEST_PROBLEM]} …"


def may_end_early(debate: Debate, role: Role, round: int) -> bool:
    """Whether an actor is asked if there is anything to contest: never the one who opens the debate, nor the judge."""
    opens = role is Role.ADVOCATE and round == 1
    return debate.protocol.early_end and role is not Role.JUDGE and not opens


def score_field(role: Role) -> str:
    """The name of the field that holds the role's score; only a judge's is a verdict."""
    return "verdict_score" if role is Role.JUDGE else "suggested_score"


def reply_form(debate: Debate, role: Role, round: int) -> ReplyForm:
    """The form of the reply at one step of a debate."""
    sides = tuple(sorted(debate.labels, key=lambda label: label.first)) if role is Role.JUDGE else ()
    return _form(role, debate.scale.minimum, debate.scale.maximum, may_end_early(debate, role, round), sides)


@lru_cache(maxsize=64)
def _form(role: Role, low: int, high: int, asks_for_end: bool, sides: tuple[Label, ...]) -> ReplyForm:
    score = score_field(role)
    properties: dict[str, Any] = {
        "analysis": {"type": "string", "minLength": 1},
        "evidence": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_QUOTES},
    }
    fields: dict[str, Any] = {
        "analysis": (str, Field(min_length=1)),
        "evidence": (list[str], Field(max_length=MOST_QUOTES)),
    }
    if asks_for_end:
        properties["nothing_to_contest"] = {"type": "boolean"}
        fields["nothing_to_contest"] = (bool, ...)
    properties[score] = {"type": "integer", "minimum": low, "maximum": high}
    fields[score] = (int, Field(ge=low, le=high))
    if sides:
        names = list(dict.fromkeys(label.name for label in sides))
        ranges = ", ".join(f"{label.name} from {label.first} to {label.last}" for label in sides)
        properties[SIDE] = {"type": "string", "enum": names, "description": ranges}
        fields[SIDE] = (Literal[tuple(names)], ...)
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    strict = ConfigDict(extra="forbid", strict=True)
    return ReplyForm(schema=schema, model=create_model("Reply", __config__=strict, **fields), sides=sides)
