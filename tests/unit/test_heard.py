"""Whole answers are read as the recorded servers gave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.heard import Heard, heard
from orchestrator.backends.wire import Answer
from orchestrator.domain import Backend

RECORDINGS = Path(__file__).parents[1] / "recordings"


def recorded(name: str) -> Answer:
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"]
    return answer(response["json"], response["status"])


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status=status, json=body, excerpt="", retry_after_s=None)


def test_ollama_tells_times_of_waiting_and_working() -> None:
    read = heard(recorded("ollama/chat_format_schema"), Backend.OLLAMA)

    assert (read.status, read.finish, read.cached_tokens) == (200, "stop", None)
    assert json.loads(read.text)
    assert read.prompt_tokens
    assert read.waited_s is not None
    assert read.worked_s is not None
    assert 0 <= read.waited_s < 1
    assert read.worked_s > (read.prompt_s or 0) > 0


def test_waiting_for_slots_is_what_times_leave_out() -> None:
    body = {"total_duration": 9e9, "load_duration": 1e9, "prompt_eval_duration": 2e9, "eval_duration": 3e9}

    read = heard(answer(body), Backend.OLLAMA)

    assert read.waited_s == pytest.approx(3.0)
    assert read.worked_s == pytest.approx(5.0)


def test_vllm_tells_cached_tokens() -> None:
    read = heard(recorded("vllm/prefix_2_repeat_identical"), Backend.VLLM)

    assert (read.text, read.finish, read.prompt_tokens, read.cached_tokens) == ("////", "length", 223, 192)
    assert (read.thinking, read.worked_s) == ("", None)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Backend.OLLAMA, {"content": "", "thinking": "Hm."}),
        (Backend.VLLM, {"content": None, "reasoning": "Hm."}),
        (Backend.VLLM, {"content": "", "reasoning_content": "Hm."}),
        (Backend.LLAMACPP, {"content": "", "reasoning_content": "Hm.", "reasoning": None}),
    ],
)
def test_thinking_has_a_name_for_each_server(backend: Backend, message: dict[str, Any]) -> None:
    body = {"message": message} if backend is Backend.OLLAMA else {"choices": [{"message": message}]}

    read = heard(answer(body), backend)

    assert (read.text, read.thinking) == ("", "Hm.")


@pytest.mark.parametrize("backend", [Backend.OLLAMA, Backend.VLLM])
@pytest.mark.parametrize(
    "body",
    [None, [], "no", 7, {"message": 7, "choices": 7}, {"choices": []}, {"choices": [7], "usage": [], "timings": "x"}],
)
def test_anything_else_is_read_as_empty(body: Any, backend: Backend) -> None:
    assert heard(answer(body, 500), backend) == Heard(status=500)


def test_refusals_keep_their_status() -> None:
    read = heard(recorded("vllm/chat_context_overflow_prompt"), Backend.VLLM)

    assert (read.status, read.text) == (400, "")
