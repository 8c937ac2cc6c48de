"""Prompt and reply share a context; one that they fill may have lost the prompt's beginning."""

from __future__ import annotations

import pytest

from orchestrator.backends.room import check_room
from orchestrator.domain import Backend, Usage
from orchestrator.errors import Guard, TruncatedError
from orchestrator.ports import Reply


def reply(prompt_tokens: int | None, reply_tokens: int | None) -> Reply:
    return Reply(text="{}", usage=Usage(prompt_tokens=prompt_tokens, reply_tokens=reply_tokens))


@pytest.mark.parametrize(("prompt_tokens", "reply_tokens"), [(8000, 191), (None, 9000), (9000, None)])
def test_room_or_no_count_is_no_failure(prompt_tokens: int | None, reply_tokens: int | None) -> None:
    check_room(Backend.OLLAMA, reply(prompt_tokens, reply_tokens), 8192)


@pytest.mark.parametrize("reply_tokens", [192, 400])
def test_filled_context_is_a_cut_prompt(reply_tokens: int) -> None:
    with pytest.raises(TruncatedError, match=f"8000 and {reply_tokens} tokens of 8192") as caught:
        check_room(Backend.LLAMACPP, reply(8000, reply_tokens), 8192)

    assert (caught.value.reply, caught.value.guard) == ("{}", Guard.TRUNCATION)


def test_context_that_the_card_does_not_set_is_not_measured() -> None:
    check_room(Backend.VLLM, reply(8000, 400), 8192)
