"""A reply that came in pieces is the reply they make up; an error in any piece, or a missing end, leaves none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.streams import put_together

RECORDINGS = Path(__file__).parents[1] / "recordings"


def recorded(name: str) -> list[str]:
    """The lines of a recorded stream, as they came."""
    response = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]
    return [line for _, line in response["lines"]]


def lines(*pieces: Any) -> bytes:
    return "\n".join(json.dumps(piece, ensure_ascii=False) for piece in pieces).encode()


def events(*pieces: Any, end: bool = True) -> bytes:
    told = [f"data: {json.dumps(piece)}\n\n" for piece in pieces]
    return "".join([*told, *(["data: [DONE]\n\n"] if end else [])]).encode()


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}, "done": False, **more}


def chunk(text: str | None, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def test_recorded_lines_make_one_reply() -> None:
    whole = put_together("\n".join(recorded("ollama/chat_stream")).encode())

    assert (whole["done"], whole["done_reason"]) == (True, "length")
    assert (whole["prompt_eval_count"], whole["eval_count"]) == (124, 8)
    assert whole["message"]["content"].startswith('include",')
    assert len(whole["message"]["content"]) > 20


@pytest.mark.parametrize("name", ["vllm/chat_stream_usage", "ollama/v1_chat_stream_usage"])
def test_recorded_events_make_one_reply(name: str) -> None:
    whole = put_together("\n\n".join(recorded(name)).encode())

    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["choices"][0]["message"]["content"]
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + whole["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vllm/crash_stream_in_flight", "EngineCore encountered an issue"),
        ("ollama/runner_killed_stream", "unexpected EOF"),
    ],
)
def test_recorded_death_is_all_that_counts(name: str, words: str) -> None:
    whole = put_together("\n".join(recorded(name)).encode())

    assert list(whole) == ["error"]
    assert words in str(whole["error"])


def test_recorded_death_without_word_has_no_end() -> None:
    whole = put_together("\n".join(recorded("ollama/v1_runner_killed_stream")).encode())

    assert whole["choices"][0]["finish_reason"] is None


def test_events_without_last_word_have_not_ended() -> None:
    pieces = chunk("{}"), chunk("", "stop")

    assert put_together(events(*pieces))["choices"][0]["finish_reason"] == "stop"
    assert put_together(events(*pieces, end=False))["choices"][0]["finish_reason"] is None


def test_lines_that_break_off_are_not_done() -> None:
    assert put_together(lines(said("half"), said(" of")))["done"] is False


def test_error_before_the_end_still_counts() -> None:
    assert put_together(lines(said("a"), {"error": "died"}, said("", done=True))) == {"error": "died"}
    assert put_together(events(chunk("a"), {"error": {"message": "died"}}, chunk("", "stop"))) == {
        "error": {"message": "died"}
    }


@given(st.lists(st.text(), min_size=1))
def test_pieces_make_the_text_again(parts: list[str]) -> None:
    text = "".join(parts)

    native = put_together(lines(*(said(part) for part in parts), said("", done=True)))
    openai = put_together(events(*(chunk(part) for part in parts), chunk(None, "stop")))

    assert (native["message"]["content"], native["done"]) == (text, True)
    assert openai["choices"][0]["message"]["content"] == text


def test_thinking_is_put_together_apart() -> None:
    thought = {"message": {"content": "", "thinking": "so "}, "done": False}

    whole = put_together(lines(thought, thought, said("{}"), said("", done=True)))

    assert whole["message"] == {"content": "{}", "thinking": "so so "}


@pytest.mark.parametrize(
    "body",
    [b"", b"\n \n", b"<html>\n</html>", b'{"a": 1}\n{"half', b"1\n2", b"[1]\n[2]", b"data: nothing", b"data: 1"],
)
def test_other_bodies_are_no_stream(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        put_together(body)


@pytest.mark.parametrize("choices", [None, 7, "text", [], [7], [None], [{}], [{"delta": 7}]])
def test_odd_choices_leave_nothing_said(choices: Any) -> None:
    whole = put_together(events({"choices": choices}))

    assert whole["choices"] == [{"message": {}, "finish_reason": None}]
