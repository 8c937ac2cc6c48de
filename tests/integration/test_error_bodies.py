"""A 200 may hold an error, or a reply in pieces: the last piece decides, and an error keeps the class of its words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.errors import CapacityError, EndpointError, Guard, OverflowingError, TransientError
from tests.integration.test_wire import Connecting, error_from, ollama_at, ollama_reply, speak, vllm_at, vllm_reply
from tests.servers.hostile import HostileServer, says

ENGINE = "EngineCore encountered an issue."
IN_PIECES = [
    (ollama_at, ollama_reply("half of", done=False), {"error": "unexpected EOF"}, TransientError, "unexpected EOF"),
    (ollama_at, ollama_reply("half of", done=False), ollama_reply("", done=False), TransientError, "not complete"),
    (ollama_at, {"error": "CUDA error: out of memory"}, None, CapacityError, "out of memory"),
    (ollama_at, ollama_reply("", done_reason="load"), None, TransientError, "without a reply"),
    (ollama_at, ollama_reply("half of", done=False), ollama_reply("", done_reason="length"), OverflowingError, "cut"),
    (vllm_at, vllm_reply("half of") | {"error": {"message": ENGINE}}, None, TransientError, ENGINE),
    (vllm_at, {"error": {"message": "the prompt is too long"}}, None, OverflowingError, "too long"),
]


@pytest.mark.parametrize(("connect", "first", "last", "expected", "words"), IN_PIECES)
async def test_error_within_a_200_keeps_its_class(
    connect: Connecting, first: Any, last: Any, expected: type[EndpointError], words: str
) -> None:
    body = json.dumps(first) + (f"\n{json.dumps(last)}\n" if last else "")

    error = await error_from(connect, says(body))

    assert type(error) is expected
    assert error.guard is Guard.COMPLETENESS
    assert words in str(error)


async def test_reply_in_pieces_is_one_reply() -> None:
    body = "\n".join(json.dumps(piece) for piece in (ollama_reply("{", done=False), ollama_reply("}")))

    async with HostileServer(says(body)) as server:
        assert await speak(ollama_at(server.url)) == "{}"
