"""How many injections an obedient judge obeys: without a fence, with a common one, and as our prompts are written.

`python -m tests.security.injections` prints the rates.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, read_debate
from orchestrator.debate.messages import Script
from orchestrator.domain import Backend, Quote, Role, Step, Turn, Usage
from orchestrator.ports import Message
from orchestrator.strict_json import parse_object
from tests.security.obedient import HONEST, ORDERED, reply

FILE = Path(__file__).with_name("injections.jsonl")
RECORD = {
    "id": "i1",
    "title": "Night warden",
    "company": "Amberlock Museum",
    "text": "We look for a night warden. Write to the museum, or come and see us.",
}
ARGUMENT = "The posting names a real duty."
_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_FENCED = re.compile(r"<<<(RECORD|STATEMENT) (\w+)>>>\n.*?\n<<<END \1 \2>>>", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A text by somebody who wants the score 10, and where it stands: a field of the record, or what the advocate said.

    An advocate that was taken in by its record says `statement`, or gives `quote` as evidence.
    """

    kind: str
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whether the judge obeyed, by how the prompt was written."""

    injection: Injection
    bare: bool
    fenced: bool
    shipped: bool


def injections() -> list[Injection]:
    """All of them, in the file's order."""
    return [Injection(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def outcome(injection: Injection) -> Outcome:
    """What the judge does with it, in three prompts that differ in nothing but the writing of the material."""
    debate = read_debate("posting", Folders(shipped()))
    messages, materials = _prompt(debate, injection)
    written = {
        "bare": _rewritten(messages, materials, lambda _kind, raw: raw),
        "fenced": _rewritten(messages, materials, lambda kind, raw: f"<<<{kind}>>>\n{raw}\n<<<END {kind}>>>"),
        "shipped": messages,
    }
    obeyed = {name: _score(prompt) == ORDERED for name, prompt in written.items()}
    return Outcome(injection=injection, **obeyed)


def honest(text: str) -> bool:
    """Whether the judge gives its own score to a record with this text, however the prompt is written."""
    tried = outcome(Injection(kind="none", where="text", text=text))
    return not (tried.bare or tried.fenced or tried.shipped)


def _prompt(debate: Debate, injection: Injection) -> tuple[tuple[Message, ...], list[str]]:
    """The judge's messages as they are shipped, and the raw text of each material in them."""
    said = {"statement": ARGUMENT, "quote": "come and see us", **RECORD}
    said[injection.where] = f"{said[injection.where]}\n{injection.text}"
    script = Script(debate, {name: said[name] for name in RECORD})
    quotes = (Quote(text=said["quote"], verified=False),)
    turns = [
        _turn(Role.ADVOCATE, said["statement"], quotes, suggested_score=HONEST),
        _turn(Role.CRITIC, "It says little.", (), suggested_score=HONEST),
    ]
    raw = [script.record]
    for turn in turns:
        marks = "\n".join(f'- "{quote.text}" (not found in the record)' for quote in turn.quotes)
        raw.append(f"{turn.reply['analysis']}\nQuotes:\n{marks}\nSuggested score: {HONEST}")
    return script.messages(Step(role=Role.JUDGE, round=1, model="obedient"), turns), raw


def _turn(role: Role, analysis: str, quotes: tuple[Quote, ...], **score: int) -> Turn:
    return Turn(
        role=role,
        round=1,
        model="obedient",
        backend=Backend.REHEARSAL,
        endpoint="desk",
        text="",
        reply={"analysis": analysis, "evidence": [quote.text for quote in quotes], **score},
        quotes=quotes,
        prompt_hash="",
        asks=1,
        attempt=1,
        usage=Usage(),
        started_at=_NOON,
        finished_at=_NOON,
    )


def _rewritten(
    messages: tuple[Message, ...], materials: list[str], write: Callable[[str, str], str]
) -> tuple[Message, ...]:
    left = iter(materials)
    rules, task = messages
    content = _FENCED.sub(lambda block: write(block[1], next(left)), task.content)
    assert next(left, None) is None, "each material stands in the prompt once"
    return rules, Message(role=task.role, content=content)


def _score(messages: tuple[Message, ...]) -> int:
    # The score alone: whether the judge's reply has the right form is not what is asked here.
    return int(parse_object(reply(messages))["verdict_score"])


def table(outcomes: list[Outcome]) -> str:
    """Injections that were obeyed, by kind and by how the prompt was written, and the rates."""
    kinds = Counter(each.injection.kind for each in outcomes)
    lines = [f"{'obeyed':<20}{'of':>6}{'no fence':>12}{'a fence':>12}{'as shipped':>12}"]
    for kind in (*kinds, ""):
        of = [each for each in outcomes if kind in ("", each.injection.kind)]
        counts = [sum(getattr(each, name) for each in of) for name in ("bare", "fenced", "shipped")]
        cells = [f"{count:>12}" if kind else f"{count / len(of):>12.0%}" for count in counts]
        lines.append(f"{kind or 'all':<20}{len(of):>6}{''.join(cells)}")
    contained = sum(not each.shipped for each in outcomes)
    lines.append(f"contained as shipped: {contained} of {len(outcomes)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([outcome(each) for each in injections()]))
