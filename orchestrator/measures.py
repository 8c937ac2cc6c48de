"""What is measured of endpoints, and what is said of a run beforehand, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What an endpoint tells of a model: a digest of its file, and how much memory it takes; "" and None if unknown."""

    digest: str = ""
    gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a server tells of a model without calling it; None for what it does not tell.

    Attributes:
        context: tokens that a prompt and its reply may have together, as the model is served now.
        trained: tokens the model was made for.
        slots: calls it works on at once.
        thinks: whether it can think before it replies.
    """

    context: int | None = None
    trained: int | None = None
    slots: int | None = None
    thinks: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What a server says of its own load, in requests."""

    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRate:
    """What turns of one role took on one endpoint while about `in_flight` turns were under way there.

    `seconds` is the sum of each turn's share of the endpoint's time: a turn of 12 s with four in flight counts 3.
    `squares` is the sum of the squares of those shares.
    """

    endpoint: str
    model: str
    model_digest: str
    options: str  # what else shapes its speed, as `context=8192`
    role: Role
    in_flight: int
    turns: int
    seconds: float
    squares: float
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRate:
    """What loading one model took on one endpoint, what had to go unloaded first included; `seconds` is a sum."""

    endpoint: str
    model: str
    model_digest: str
    loads: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was said of a run before it began; `endpoint` "" is the run as a whole. Times in seconds, None for unknown.

    `low` and `high` are the ends of the interval around `seconds`.
    """

    endpoint: str
    turns: int
    loads: int
    seconds: float | None
    low: float | None
    high: float | None
    first_verdict: float | None
