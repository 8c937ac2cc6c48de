"""The rehearsal: a chat model without a model, for demos, tests and the first look at one's own prompts.

It reads the rendered prompt, finds the record and the signs that the prompt lists (lines that begin "Signs for" and
"Signs against", split at semicolons), quotes the sentences of the record in which most of them occur, and decides by
counting. Nothing it says is a model's opinion, and it goes by the name of rehearsal wherever it is shown.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

from orchestrator.backends.chat import Speakers, result, signed
from orchestrator.domain import Backend, Usage
from orchestrator.errors import OverflowingError, SetupError
from orchestrator.measures import ModelFile, Pressure
from orchestrator.ports import Reply, Request, Sampling

NAME = "rehearsal"
_TOKEN = 4  # characters
_QUOTES = 3
_LONGEST_QUOTE = 240
_PUSH = 1.0  # points of the scale that one sign more on one side is worth
_MATERIAL = re.compile(r"<<<(RECORD|STATEMENT) (\w+)>>>\n(.*?)\n<<<END \1 \2>>>", re.S)
_SIGNS = re.compile(r"^Signs (for|against)(?:, which (raise|lower) the score)?:(.*)$", re.M)
_RANGE = re.compile(r"(\w+) from (-?\d+) to (-?\d+)")
_SENTENCE = re.compile(r"[^\n]+?(?:[.!?;](?=\s)|(?=\n)|$)")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|y|ies)$")
_GENERIC = {
    "for": ("proven", "evidence", "measured", "years", "certified", "experience", "specific", "documented"),
    "against": ("not", "never", "without", "lacks", "missing", "expired", "only", "unclear", "no"),
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the prompt holds: sentences of the record, each with the signs found in it."""

    signs_for: tuple[tuple[str, tuple[str, ...]], ...]
    signs_against: tuple[tuple[str, tuple[str, ...]], ...]


class RehearsalChat(BaseChatModel):
    """Answers from lexical cues in the prompt; deterministic."""

    model: str
    context: int
    limit: int

    @property
    def _llm_type(self) -> str:
        return NAME

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        rules, task = str(messages[0].content), str(messages[1].content)
        prompt_tokens = sum(len(str(message.content)) for message in messages) // _TOKEN
        if prompt_tokens > self.context:
            raise OverflowingError(f"the prompt's {prompt_tokens} tokens exceed the context of {self.context}")
        text = json.dumps(_answer(rules, task, kwargs["schema"]), ensure_ascii=False)
        if (reply_tokens := len(text) // _TOKEN) > self.limit:
            problem = f"the reply was cut at its limit after {self.limit} tokens: raise reply_limit"
            raise OverflowingError(problem, reply=text[: self.limit * _TOKEN])
        return result(text, Usage(prompt_tokens=prompt_tokens, reply_tokens=reply_tokens))

    @signed
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages, stop, None, **kwargs)


def _answer(rules: str, task: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    score = "verdict_score" if "verdict_score" in properties else "suggested_score"
    reading = _read(rules, next((match[3] for match in _MATERIAL.finditer(task)), ""))
    spoken = sum(match[1] == "STATEMENT" for match in _MATERIAL.finditer(task))
    low, high = properties[score]["minimum"], properties[score]["maximum"]
    leaning = _leaning(rules)
    balance = len(_signs(reading.signs_for)) - len(_signs(reading.signs_against))
    middle = (low + high) / 2
    fair = max(low, min(high, round(middle + leaning * _PUSH * balance)))
    if score == "verdict_score":
        side, found = ("for", reading.signs_for) if balance >= 0 else ("against", reading.signs_against)
        reply: dict[str, Any] = {score: fair}
        if "verdict_side" in properties:
            reply["verdict_side"] = _side(properties["verdict_side"], fair)
    else:
        side, found = ("for", reading.signs_for) if spoken % 2 == 0 else ("against", reading.signs_against)
        pull = 1 if side == "for" else -1
        reply = {score: max(low, min(high, fair + leaning * pull))}
    if "nothing_to_contest" in properties:
        reply["nothing_to_contest"] = not found
    named = ", ".join(_signs(found)) or "none"
    analysis = (
        f"Rehearsal, not a model: {len(_signs(found))} of the prompt's signs {side} occur in the record: {named}."
    )
    return {"analysis": analysis, "evidence": [text for text, _ in found[:_QUOTES]], **dict(sorted(reply.items()))}


def _side(rules: Mapping[str, Any], score: int) -> str:
    """The word for a score: the schema describes its words by the scores that they are for."""
    ranges = _RANGE.finditer(rules["description"])
    return next(match[1] for match in ranges if int(match[2]) <= score <= int(match[3]))


def _leaning(rules: str) -> int:
    """+1 where signs for the record raise the score, -1 where the prompt says that they lower it."""
    return -1 if any(match[1] == "for" and match[2] == "lower" for match in _SIGNS.finditer(rules)) else 1


def _signs(found: tuple[tuple[str, tuple[str, ...]], ...]) -> list[str]:
    return list(dict.fromkeys(sign for _, signs in found for sign in signs))


@lru_cache(maxsize=256)
def _read(rules: str, record: str) -> _Reading:
    listed = {match[1]: match[3] for match in _SIGNS.finditer(rules)}
    sides = []
    for side in ("for", "against"):
        signs = (
            tuple(sign.strip().casefold() for sign in listed.get(side, "").split(";") if sign.strip()) or _GENERIC[side]
        )
        sides.append(_sentences_with(record, signs))
    return _Reading(*sides)


def _sentences_with(record: str, signs: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    patterns = [(sign, _pattern(sign)) for sign in signs]
    found = []
    for match in _SENTENCE.finditer(record):
        hits = tuple(sign for sign, pattern in patterns if pattern.search(match[0]))
        if hits:
            found.append((_short(match[0].strip(" -\t")), hits))
    return tuple(sorted(found, key=lambda each: -len(each[1])))


def _short(sentence: str) -> str:
    """At most so many characters, and no word cut in two."""
    return sentence if len(sentence) <= _LONGEST_QUOTE else sentence[:_LONGEST_QUOTE].rsplit(" ", 1)[0]


@lru_cache(maxsize=1024)
def _pattern(sign: str) -> re.Pattern[str]:
    """The sign's words in their order, whatever their endings, with at most two others between them."""
    stems = [re.escape(_ENDING.sub("", word)) for word in sign.split()]
    return re.compile(r"\b" + r"\w*\W+(?:\w+\W+){0,2}?".join(stems) + r"\w{0,4}\b", re.I)


class RehearsalEndpoint:
    """An endpoint without a server. It serves every model whose name begins with "rehearsal", and no other."""

    backend = Backend.REHEARSAL

    def __init__(self, *, name: str) -> None:
        self.name = name
        self._loaded: set[str] = set()
        self._speakers = Speakers(lambda request: (_chat(request), {"schema": request.schema}))

    async def available(self) -> frozenset[str] | None:
        """It cannot list all names that begin with rehearsal."""
        return None

    async def loaded(self) -> frozenset[str]:
        """What was asked to be loaded."""
        return frozenset(self._loaded)

    async def load(self, model: str, sampling: Sampling) -> None:
        """Take a name into use."""
        if not model.startswith(NAME):
            raise SetupError(f"endpoint {self.name!r} is a rehearsal: it serves models named {NAME}…, not {model!r}")
        self._loaded.add(model)

    async def unload(self, model: str) -> None:
        """Forget a name."""
        self._loaded.discard(model)

    async def files(self) -> Mapping[str, ModelFile]:
        """Nothing: there is no model."""
        return {}

    async def weights(self, models: Collection[str]) -> Mapping[str, str]:
        """Nothing: there is no model."""
        return {}

    async def pressure(self) -> Pressure | None:
        """It cannot tell: nothing waits here."""
        return None

    async def speak(self, request: Request) -> Reply:
        """One call, in this process."""
        return await self._speakers.speak(request)

    async def close(self) -> None:
        """Nothing to give back."""


def _chat(request: Request) -> RehearsalChat:
    return RehearsalChat(model=request.model, context=request.sampling.context, limit=request.sampling.reply_limit)
