"""What an actor may answer: a JSON schema for the server, and the same rules again for what comes back.

The fields stand in an order that is right both as declared and alphabetically, reasoning before decision,
because some servers sort the keys of a schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from orchestrator.cast import Debate, explain
from orchestrator.domain import Role
from orchestrator.errors import ShapeError
from orchestrator.strict_json import JsonError, parse_object

MOST_QUOTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForm:
    """The shape of one role's reply: `schema` goes to the server, `model` judges what it sends."""

    schema: Mapping[str, Any]
    model: type[BaseModel]

    def parse(self, text: str) -> dict[str, Any]:
        """The validated reply.

        Raises:
            ShapeError: not one JSON object of exactly these fields; the message says what is wrong, and is shown
                to the model when it is asked again.
        """
        try:
            reply = parse_object(text.strip())
            self.model.model_validate(reply)
        except JsonError as error:
            raise ShapeError(f"the reply is not valid JSON: {error}", reply=text) from error
        except ValidationError as error:
            raise ShapeError(f"the reply has the wrong shape: {explain(error)}", reply=text) from error
        return reply


def may_end_early(debate: Debate, role: Role, round: int) -> bool:
    """Whether an actor is asked if there is anything to contest: never the one who opens the debate, nor the judge."""
    opens = role is Role.ADVOCATE and round == 1
    return debate.protocol.early_end and role is not Role.JUDGE and not opens


def score_field(role: Role) -> str:
    """The name of the field that holds the role's score; only a judge's is a verdict."""
    return "verdict_score" if role is Role.JUDGE else "suggested_score"


def reply_form(debate: Debate, role: Role, round: int) -> ReplyForm:
    """The form of the reply at one step of a debate."""
    return _form(role, debate.scale.minimum, debate.scale.maximum, may_end_early(debate, role, round))


@lru_cache(maxsize=64)
def _form(role: Role, low: int, high: int, asks_for_end: bool) -> ReplyForm:
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
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    strict = ConfigDict(extra="forbid", strict=True)
    return ReplyForm(schema=schema, model=create_model("Reply", __config__=strict, **fields))
