"""Reads prompts/<debate>/ and the cards in actors/ into a Debate, and says which file is wrong if one is."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from jinja2 import TemplateSyntaxError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.assets import Folders
from orchestrator.domain import Digest, Role, Step, Verdict
from orchestrator.errors import CastError
from orchestrator.ports import Sampling
from orchestrator.sharing import disagreement
from orchestrator.templates import variables

# Part of every digest: raise it when the shape of replies or the layout of messages changes.
LAYOUT = 2

Model = TypeVar("Model", bound=BaseModel)

_FALLBACKS = ("fallback_context", "fallback_model")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_DEBATE_VARIABLES = frozenset({"question", "scale", "labels", "rounds", "early_end", "round"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Card(_Strict):
    """One actor as its file in actors/ declares it."""

    role: Annotated[Role, Field(strict=False)]
    model: str = Field(min_length=1)
    prompt: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*\.md$")
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    context: int = Field(default=8192, ge=256, le=10_000_000)
    reply_limit: int = Field(default=700, ge=16, le=1_000_000)
    timeout_s: float = Field(default=180, gt=0, le=86_400)
    fallback_context: int = Field(default=0, ge=0, le=10_000_000)
    fallback_model: str = ""

    @model_validator(mode="after")
    def _falls_back_to_less(self) -> Self:
        if self.fallback_context >= self.context:
            raise ValueError(f"fallback_context must be below context ({self.context}), or 0 for none")
        return self


class RecordFields(_Strict):
    """Which fields of a record its key and its template need."""

    key: str = Field(default="id", min_length=1)
    required: list[str] = Field(min_length=1)
    optional: list[str] = []


class Protocol(_Strict):
    """How the actors take turns."""

    rounds: int = Field(default=1, ge=1, le=10)
    early_end: bool = False


class Scale(_Strict):
    """The debate's one scale: whole numbers from `minimum` to `maximum`."""

    measures: str = Field(min_length=1)
    minimum: int
    maximum: int
    low: str = Field(min_length=1)
    high: str = Field(min_length=1)

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError("minimum must be below maximum")
        return self


class Label(_Strict):
    """A name for the scores from `first` to `last`, both included; `from` and `to` in the file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    first: int = Field(alias="from")
    last: int = Field(alias="to")


class DebateFile(_Strict):
    """A debate.toml."""

    question: str = Field(min_length=1)
    record: RecordFields
    cast: dict[Annotated[Role, Field(strict=False)], str]
    protocol: Protocol = Protocol()
    scale: Scale
    labels: list[Label] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := [role.value for role in Role if role not in self.cast]:
            raise ValueError(f"[cast] names no card for: {', '.join(missing)}")
        expected = self.scale.minimum
        for label in sorted(self.labels, key=lambda label: label.first):
            if label.first != expected or label.last < label.first:
                raise ValueError(f"labels must cover the scale without gaps: {label.name} should begin at {expected}")
            expected = label.last + 1
        if expected != self.scale.maximum + 1:
            raise ValueError(f"labels end at {expected - 1}, the scale at {self.scale.maximum}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A role with its model, its prompt's text and its sampling settings; `card` is the file's name."""

    role: Role
    card: str
    model: str
    prompt: str
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Debate:
    """A definition, read and checked: all that shapes a verdict, and the digest of it."""

    name: str
    question: str
    fields: RecordFields
    protocol: Protocol
    scale: Scale
    labels: tuple[Label, ...]
    actors: tuple[Actor, ...]
    rules: str
    record: str
    digest: Digest

    def actor(self, role: Role) -> Actor:
        """Who plays a role."""
        return next(actor for actor in self.actors if actor.role is role)

    def step(self, role: Role, round: int) -> Step:
        """A step of this debate, with the model that role speaks with."""
        return Step(role=role, round=round, model=self.actor(role).model)

    @property
    def first(self) -> Step:
        """Who opens the debate."""
        return self.step(Role.ADVOCATE, 1)

    def verdict(self, score: int) -> Verdict:
        """The verdict for a score on the scale; its label follows from it."""
        label = next(label for label in self.labels if label.first <= score <= label.last)
        return Verdict(score=score, label=label.name)

    def variables(self, round: int) -> dict[str, Any]:
        """What rules.md and the actors' prompts may use."""
        labels = [{"name": label.name, "from": label.first, "to": label.last} for label in self.labels]
        return {
            "question": self.question,
            "scale": self.scale.model_dump(),
            "labels": labels,
            "rounds": self.protocol.rounds,
            "early_end": self.protocol.early_end,
            "round": round,
        }


def read_debate(name: str, folders: Folders) -> Debate:
    """The debate in prompts/<name>/ with the cards it names.

    Raises:
        CastError: a file is missing, not TOML, has an unknown or wrong key, or uses a variable nobody sets; two cards
            share a model but not what it is loaded with.
    """
    if not _NAME.fullmatch(name):
        raise CastError(f"{name!r} is no debate's name: use small letters, digits, - and _")
    path = folders.find("prompts", name, "debate.toml")
    if path is None:
        known = ", ".join(debate_names(folders)) or "none"
        raise CastError(f"there is no debate {name!r}: prompts/{name}/debate.toml is missing (there are: {known})")
    file = _validated(DebateFile, path)
    actors = tuple(_actor(role, file.cast[role], name, folders) for role in Role)
    if problem := disagreement(actors):
        raise CastError(f"prompts/{name}/debate.toml: {problem}")
    rules = _template(folders, name, "rules.md", _DEBATE_VARIABLES - {"round"})
    record = _template(folders, name, "record.md", frozenset(file.record.required + file.record.optional))
    return Debate(
        name=name,
        question=file.question,
        fields=file.record,
        protocol=file.protocol,
        scale=file.scale,
        labels=tuple(file.labels),
        actors=actors,
        rules=rules,
        record=record,
        digest=_digest(name, file, actors, rules, record),
    )


def debate_names(folders: Folders) -> list[str]:
    """Names of all debates, the user's and the shipped ones."""
    return folders.names("prompts", "*/debate.toml")


def _actor(role: Role, card_name: str, debate: str, folders: Folders) -> Actor:
    path = folders.find("actors", f"{card_name}.toml") if _NAME.fullmatch(card_name) else None
    if path is None:
        raise CastError(
            f"prompts/{debate}/debate.toml: [cast] names the card {card_name!r}, "
            f"but there is no actors/{card_name}.toml"
        )
    card = _validated(Card, path)
    if card.role is not role:
        raise CastError(
            f"{path}: this card plays the {card.role.value}, "
            f"but prompts/{debate}/debate.toml casts it as the {role.value}"
        )
    return Actor(
        role=role,
        card=card_name,
        model=card.model,
        prompt=_template(folders, debate, card.prompt, _DEBATE_VARIABLES),
        sampling=Sampling(**{name: getattr(card, name) for name in Sampling.__slots__}),
    )


def _validated(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CastError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        raise CastError(f"{path}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """A validation error in one line: each key with what is wrong about it."""
    parts = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {text[0].lower()}{text[1:]}" if where else text)
    return "; ".join(parts)


def _template(folders: Folders, debate: str, name: str, known: frozenset[str]) -> str:
    path = folders.find("prompts", debate, name)
    if path is None:
        raise CastError(f"prompts/{debate}/{name} is missing")
    try:
        text = path.read_text(encoding="utf-8")
        used = variables(text)
    except TemplateSyntaxError as error:
        raise CastError(f"{path}:{error.lineno}: {error.message}") from error
    except (UnicodeDecodeError, OSError) as error:
        raise CastError(f"{path}: cannot be read: {error}") from error
    if unknown := sorted(used.keys() - known, key=lambda name: (used[name], name)):
        raise CastError(
            f"{path}:{used[unknown[0]]}: uses {', '.join(unknown)}, which nobody sets; "
            f"it may use: {', '.join(sorted(known))}"
        )
    return text


def _digest(name: str, file: DebateFile, actors: tuple[Actor, ...], rules: str, record: str) -> Digest:
    shape = {
        "layout": LAYOUT,
        # Two debates that read alike stay two: their tasks are claimed by digest.
        "name": name,
        "debate": file.model_dump(mode="json", exclude={"record": {"key"}, "cast": True}),
        "rules": rules,
        "record": record,
        "actors": [
            {
                "role": actor.role,
                "model": actor.model,
                "prompt": actor.prompt,
                "temperature": actor.sampling.temperature,
                "seed": actor.sampling.seed,
                "context": actor.sampling.context,
                "reply_limit": actor.sampling.reply_limit,
                # Left out where a card names none, so that it keeps the digest it had without them.
                **{name: value for name in _FALLBACKS if (value := getattr(actor.sampling, name))},
            }
            for actor in actors
        ],
    }
    text = json.dumps(shape, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Digest(hashlib.sha256(text.encode()).hexdigest()[:16])
