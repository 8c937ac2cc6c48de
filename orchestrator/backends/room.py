"""Whether prompt and reply left room in the context that the card asked for."""

from __future__ import annotations

from orchestrator.domain import Backend
from orchestrator.errors import TruncatedError
from orchestrator.ports import Reply

SETS_CONTEXT = frozenset({Backend.OLLAMA, Backend.LLAMACPP})  # those that give a model the context that a card asks for


def check_room(backend: Backend, reply: Reply, context: int) -> None:
    """Look whether a reply left room in a context of so many tokens.

    A server that shifts its context goes on when it is full, forgets the prompt's beginning, and ends with `stop`.

    Raises:
        TruncatedError: prompt and reply filled it.
    """
    prompt_tokens, reply_tokens = reply.usage.prompt_tokens, reply.usage.reply_tokens
    if backend not in SETS_CONTEXT or prompt_tokens is None or reply_tokens is None:
        return
    if prompt_tokens + reply_tokens >= context:
        raise TruncatedError(
            f"prompt and reply filled the context: {prompt_tokens} and {reply_tokens} tokens of {context}; "
            "raise context in the card, or shorten the record",
            reply=reply.text,
        )
