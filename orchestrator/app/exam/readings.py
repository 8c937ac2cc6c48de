"""What answers mean: pure functions from what was heard to a finding, which says what to do unless all is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.app.exam.asks import FIELDS, HIGH, LOW, TONES
from orchestrator.app.exam.subject import Outcome, Subject
from orchestrator.app.findings import Finding
from orchestrator.backends.heard import Heard
from orchestrator.domain import Backend
from orchestrator.errors import OverflowingError
from orchestrator.strict_json import JsonError, parse_object

_EXCERPT = 60  # characters
_BIND: Mapping[Backend, str] = {
    Backend.OLLAMA: "update Ollama, which binds replies to `format`",
    Backend.VLLM: "use a server that binds replies to response_format json_schema, as vLLM and llama-server do",
    Backend.LLAMACPP: "update the llamacpp extra",
}
_THINK_LESS: Mapping[Backend, str] = {
    Backend.OLLAMA: "take a model or a variant that does not think",
    Backend.VLLM: "turn thinking off in the server (vLLM: --default-chat-template-kwargs "
    "'{\"enable_thinking\": false}'; llama-server: --reasoning-budget 0)",
    Backend.LLAMACPP: "take a model that does not think",
}
_CACHE: Mapping[Backend, str] = {
    Backend.OLLAMA: "other calls between two turns of a record take its slot's cache",
    Backend.VLLM: "leave prefix caching on (vLLM: no --no-enable-prefix-caching; llama-server: no --no-cache-prompt)",
    Backend.LLAMACPP: "update the llamacpp extra",
}
# A repeated prompt that took this long the first time should be read in less than half of it.
_SLOW_ENOUGH_S = 0.05


def answers(subject: Subject, outcome: Outcome, seconds: float) -> Finding:
    """Whether the model answers at all; a reply of any shape will do."""
    if outcome.replied is not None:
        return subject.good("answers", f"in {seconds:.1f} s")
    return subject.bad("answers", f"no reply to a small question: {outcome.error}")


def form(subject: Subject, against: Heard, plain: Heard | None) -> Finding:
    """Whether replies keep to a schema: asked against it, and if that broke it, asked for it in words."""
    flaw = flaw_of(against.text)
    if flaw is None:
        return subject.good("schema", "replies keep to it, even where the question asks for something else")
    if in_form(against.text):
        text = f"the server holds replies to the fields, but not to their values ({flaw})"
        return subject.note("schema", f"{text}: a score outside the scale is asked for again, and may fail as `shape`")
    advice = _BIND[subject.backend]
    text = f"the server does not hold replies to it (asked against it, the model said {_excerpt(against.text)})"
    if plain is not None and flaw_of(plain.text) is None:
        return subject.note(
            "schema", f"{text}; told in words it complies, so expect some failures of `shape`: {advice}"
        )
    return subject.bad("schema", f"{text}, nor does the model keep to it when told in words: {advice}")


def flaw_of(text: str) -> str | None:
    """What is wrong with a reply that should keep to the exam's schema; None if nothing is."""
    try:
        reply = parse_object(text.strip())
    except JsonError as error:
        return error.what
    if set(reply) != set(FIELDS):
        return f"its fields are {', '.join(reply) or 'none'}"
    return _wrong_value(reply)


def in_form(text: str) -> bool:
    """Whether a reply has the right fields, whatever is in them."""
    try:
        return set(parse_object(text.strip())) == set(FIELDS)
    except JsonError:
        return False


def _wrong_value(reply: Mapping[str, Any]) -> str | None:
    right = {
        "tone": reply["tone"] in TONES,
        "count": type(reply["count"]) is int and LOW <= reply["count"] <= HIGH,
        "agree": isinstance(reply["agree"], bool),
    }
    return next((f"{name} is {reply[name]!r}"[:_EXCERPT] for name, fine in right.items() if not fine), None)


def order(subject: Subject, reply: Heard) -> Finding | None:
    """In which order the fields come: a score said before its reasons is worth less. None if there are no fields."""
    if not in_form(reply.text):
        return None
    keys = tuple(parse_object(reply.text.strip()))
    if keys == FIELDS:
        return subject.good("key order", "fields come as the schema has them")
    if keys == tuple(sorted(FIELDS)):
        return subject.good("key order", "fields come sorted by name, in which a debate's reasons stand first as well")
    text = f"fields come as {', '.join(keys)}, not as {', '.join(FIELDS)}: a score may be said before its reasons"
    return subject.note("key order", f"{text}; {_BIND[subject.backend]}")


def thinking(subject: Subject, reply: Heard, able: bool | None) -> Finding:
    """Whether the model thinks before it replies, and whether a reply is left then. `able`: as the server tells."""
    limit = subject.sampling.reply_limit
    advice = _THINK_LESS[subject.backend]
    if "<think" in reply.text:
        tell = "start the server with a parser for it (vLLM: --reasoning-parser; llama-server: --reasoning-format)"
        return subject.bad("thinking", f"it thinks in the reply itself, which is no JSON then: {tell}, or {advice}")
    if not reply.thinking:
        return subject.good("thinking", "it can, but did not, beside a schema" if able else "none")
    if reply.text.strip():
        text = f"it thinks first ({len(reply.thinking):,} characters to a small question), then replies"
        return subject.note(
            "thinking", f"{text}: that counts against reply_limit ({limit:,}) and the night; or {advice}"
        )
    if reply.finish == "length":
        text = f"it spent all of reply_limit ({limit:,} tokens) on thinking and said nothing"
        return subject.bad("thinking", f"{text}: raise reply_limit, or {advice}")
    return subject.bad("thinking", f"the whole reply lands in the field for thinking, its content is empty: {advice}")


def overflow(subject: Subject, outcome: Outcome, words: int) -> Finding:
    """What becomes of a prompt of so many words, which is longer than the context."""
    if isinstance(outcome.error, OverflowingError) and outcome.replied is None:
        return subject.good("too long a prompt", "refused, as it should be")
    reply = outcome.replied
    if reply is not None:
        counted = f", counting {reply.prompt_tokens:,}" if reply.prompt_tokens is not None else ""
        text = f"a prompt of at least {words:,} tokens was answered{counted}: it is cut without a word"
        return subject.bad("too long a prompt", f"{text}: update the server, or keep records well below the context")
    return subject.note("too long a prompt", f"refused, but not for its length: {outcome.error}")


def not_asked(subject: Subject, context: int | None) -> Finding:
    """Why no prompt that is too long was sent."""
    why = "the server does not tell its context" if context is None else f"a context of {context:,} tokens is too large"
    return subject.note("too long a prompt", f"not tried: {why}")


def cache(subject: Subject, first: Outcome, second: Outcome) -> Finding:
    """Whether a prompt of the cards is answered and, sent again, is read from a cache."""
    if first.replied is not None and second.replied is not None:
        return _cached(subject, first.replied, second.replied)
    error = first.error or second.error
    return subject.bad("prompts", f"the longest prompt of the cards got no reply: {error}")


def _cached(subject: Subject, first: Heard, second: Heard) -> Finding:
    if second.cached_tokens is not None and second.prompt_tokens:
        share = f"{second.cached_tokens:,} of {second.prompt_tokens:,} tokens of a repeated prompt came from the cache"
        if second.cached_tokens * 2 >= second.prompt_tokens:
            return subject.good("prefix cache", share)
        return subject.note("prefix cache", f"only {share}: {_CACHE[subject.backend]}")
    if first.prompt_s is None or second.prompt_s is None:
        tell = "start vLLM with --enable-prompt-tokens-details to see it"
        return subject.note("prefix cache", f"the server does not tell what came from a cache; {tell}")
    times = f"{first.prompt_s * 1000:.0f} ms and, repeated, {second.prompt_s * 1000:.0f} ms to read a prompt"
    if second.prompt_s * 2 < first.prompt_s:
        return subject.good("prefix cache", times)
    if first.prompt_s < _SLOW_ENOUGH_S:
        return subject.good("prefix cache", f"{times}: too quick to tell, and to matter")
    return subject.note("prefix cache", f"{times}: nothing was saved; {_CACHE[subject.backend]}")


def _excerpt(text: str) -> str:
    words = " ".join(text.split())
    return repr(words[:_EXCERPT] + ("…" if len(words) > _EXCERPT else "")) if words else "nothing"
