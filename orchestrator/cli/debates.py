"""One debate on the screen, turn by turn."""

from __future__ import annotations

import json as json_
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.format import visible
from orchestrator.cli.records import plain

if TYPE_CHECKING:
    from orchestrator.app.looking import Shown
    from orchestrator.domain import Claim, Turn
    from orchestrator.ports import Message

_WIDTH = 108


def shown(found: Sequence[Shown], json: bool) -> None:
    """Every task of a record, newest first."""
    if json:
        tasks = [plain(each.detail) | {"marks": plain(each.marks)} for each in found]
        print(json_.dumps(tasks, ensure_ascii=False))
        return
    for each in found:
        _task(each)


def _task(task: Shown) -> None:
    detail = task.detail
    print(f"{visible(detail.key)} · debate {detail.debate} · {detail.status.value} · digest {detail.digest}")
    for name, value in detail.payload.items():
        print(_wrapped(f"{name}: {value}", "  "))
    for mark in task.marks:
        print(_wrapped(f"! {mark.field}: {mark.sign.value} ({mark.count}), first: {mark.excerpt}", "  "))
    for turn in detail.turns:
        print()
        _turn(turn)
    for attempt in detail.attempts:
        step = attempt.step
        print(
            f"\nfailed attempt {attempt.attempt} of the {step.role.value}, "
            f"round {step.round} ({attempt.error_class.value}){_asked(attempt.asks)}"
        )
        print(_wrapped(attempt.error, "  "))
    if detail.verdict is not None:
        flags = "".join(f", flagged: {flag.value}" for flag in detail.verdict.flags)
        print(f"\nverdict: {detail.verdict.score} ({detail.verdict.label}){flags}")
    print()


def _turn(turn: Turn) -> None:
    usage = turn.usage
    tokens = f"{usage.prompt_tokens or '?'} + {usage.reply_tokens or '?'} tokens"
    marks = f", {', '.join(turn.marks)}" if turn.marks else ""
    print(
        f"{turn.role.value}, round {turn.round} · {turn.model} ({turn.backend.value}) · "
        f"{tokens}, {usage.total_s:.2f} s{_asked(turn.asks)}{marks}"
    )
    print(_wrapped(str(turn.reply["analysis"]), "  "))
    for quote in turn.quotes:
        print(_wrapped(f"{'✓' if quote.verified else '✗ not in the record:'} “{quote.text}”", "    "))
    for name, value in turn.reply.items():
        if name not in ("analysis", "evidence"):
            print(f"  {name}: {json_.dumps(value)}")


def _asked(asks: int) -> str:
    return f", asked {asks} times" if asks > 1 else ""


def spoken_turn(claim: Claim, messages: tuple[Message, ...], turn: Turn) -> None:
    """A turn of a dry run: what was asked, and what came back."""
    print(f"\n═══ {visible(claim.key)} · {turn.role.value}, round {turn.round} ═══")
    for message in messages:
        print(f"--- {message.role}")
        print(visible(message.content))
    print("--- reply")
    _turn(turn)


def json_turn(claim: Claim, messages: tuple[Message, ...], turn: Turn) -> None:
    """A turn of a dry run as one line of JSON."""
    line: dict[str, Any] = {
        "key": claim.key,
        "debate": claim.debate,
        "digest": claim.digest,
        "messages": [plain(message) for message in messages],
        "turn": plain(turn),
    }
    print(json_.dumps(line, ensure_ascii=False), flush=True)


def _wrapped(text: str, indent: str) -> str:
    lines = []
    for line in visible(text).splitlines():
        lines += textwrap.wrap(line, _WIDTH, initial_indent=indent, subsequent_indent=indent) or [""]
    return "\n".join(lines)
