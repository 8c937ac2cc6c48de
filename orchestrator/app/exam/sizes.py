"""How much fits: the context that a server really gives, and the calls it really works on at once. Pure readings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestrator.app.exam.subject import Subject
from orchestrator.app.findings import Finding
from orchestrator.app.rendering import Rendered
from orchestrator.backends.heard import Heard
from orchestrator.domain import Backend
from orchestrator.measures import ModelFacts

CALLS_AT_ONCE = 4
_RAISE: Mapping[Backend, str] = {
    Backend.OLLAMA: "it has no more; lower the card's context, or take another model",
    Backend.VLLM: "raise it (vLLM: --max-model-len; llama-server: --ctx-size over --parallel), or lower the card's",
    Backend.LLAMACPP: "it has no more; lower the card's context, or take another model",
}
_MORE_SLOTS: Mapping[Backend, str] = {
    Backend.OLLAMA: "set OLLAMA_NUM_PARALLEL",
    Backend.VLLM: "start the server with more (vLLM: --max-num-seqs; llama-server: --parallel)",
    Backend.LLAMACPP: "set slots",
}


def largest(prompts: Sequence[Rendered]) -> Rendered | None:
    """The prompt with the most tokens; None without any."""
    return max(prompts, key=lambda prompt: prompt.tokens, default=None)


def room(prompts: Sequence[Rendered], counted: int | None) -> tuple[int, int]:
    """Tokens that the largest prompt takes at least, and that a prompt and its reply take at most.

    `counted` is what the server made of the largest.
    """
    biggest = largest(prompts)
    if biggest is None:
        return 0, 0
    rate = counted / biggest.tokens if counted and biggest.tokens else 1.0
    most = max(math.ceil(prompt.most_tokens * rate) + prompt.reply_limit for prompt in prompts)
    return math.ceil(biggest.tokens * rate), most


def context(subject: Subject, facts: ModelFacts, counted: int | None = None, *, loaded: bool = True) -> Finding:
    """The context a server gives a model, against that of the cards and what their prompts need.

    `counted` is how many tokens the server made of the largest prompt. A model that is not loaded, or that is loaded
    as somebody else wanted it, has no context but the one it was made for.
    """
    served = facts.context if loaded else None
    given = served if served is not None else facts.trained
    wanted, (least, most) = subject.sampling.context, room(subject.prompts, counted)
    if given is None:
        return subject.note(
            "context", f"the server does not tell; the cards say {wanted:,} tokens: compare them by hand"
        )
    which = "the server gives" if served is not None else "the model was made for"
    about = "" if counted else "about "
    said = f"{which} {given:,} tokens, the cards say {wanted:,}"
    if most:
        said += f", the longest prompt takes {about}{least:,}, with long replies before and after it {most:,}"
    if least > given:
        return subject.bad("context", f"{said}: {_RAISE[subject.backend]}")
    if most > given or wanted > given:
        return subject.note("context", f"{said}: what does not fit fails as `overflow`; {_RAISE[subject.backend]}")
    return subject.good("context", said)


def slots(subject: Subject, told: int | None, seen: int | None) -> Finding:
    """How many of `CALLS_AT_ONCE` calls ran side by side, against the slots that the settings count on.

    `told` is what the server says of itself, `seen` how many were at work at one time.
    """
    wanted, more = subject.wanted_slots, _MORE_SLOTS[subject.backend]
    known = [f"{told} by the server's own word"] if told is not None else []
    if seen is not None:
        known.append(f"{seen} of {CALLS_AT_ONCE} calls at once were worked on side by side")
    said = ", ".join(known)
    if not known:
        return subject.note(
            "slots", "the server does not tell how many calls it works on at once; compare `slots` by hand"
        )
    at_once = min(count for count in (told, seen) if count is not None)
    if wanted is not None and (at_once < min(wanted, CALLS_AT_ONCE) or (told is not None and told < wanted)):
        fits = told if told is not None and at_once == CALLS_AT_ONCE else at_once
        text = f"{said}, but slots is {wanted}: the rest would wait in the server"
        return subject.note("slots", f"{text}; {more}, or lower slots to {fits}")
    if wanted is None and at_once == 1:
        return subject.note("slots", f"{said}: one turn at a time; for more {more}")
    return subject.good("slots", said)


def side_by_side(calls: Sequence[Heard]) -> int | None:
    """How many of some calls sent at once ran from the start, by an Ollama's own times; None if it tells none."""
    timed = [(call.waited_s, call.worked_s) for call in calls if call.waited_s is not None and call.worked_s]
    if not timed or len(timed) < len(calls):
        return None
    shortest = min(worked for _, worked in timed)
    return sum(waited < shortest / 2 for waited, _ in timed)
