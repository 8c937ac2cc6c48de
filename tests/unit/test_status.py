"""Each recorded refusal of a server gives the class of error that decides rightly about the attempt."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.status import error_of, error_text
from orchestrator.backends.wire import Answer
from orchestrator.errors import ErrorClass

RECORDINGS = Path(__file__).parents[1] / "recordings"
ADDRESS = "http://127.0.0.1:11434/api/chat"

CONFIGURATION, CAPACITY = ErrorClass.CONFIGURATION, ErrorClass.CAPACITY
OVERFLOW, DETERMINISTIC, TRANSIENT = ErrorClass.OVERFLOW, ErrorClass.DETERMINISTIC, ErrorClass.TRANSIENT


def recorded(name: str, retry_after_s: float | None = None) -> Answer:
    response = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]
    body = response.get("json")
    excerpt = response.get("text", "") if body is None else json.dumps(body)
    return Answer(status=response["status"], json=body, excerpt=excerpt[:500], retry_after_s=retry_after_s)


def answer(status: int, body: Any = None, excerpt: str = "") -> Answer:
    return Answer(status=status, json=body, excerpt=excerpt, retry_after_s=None)


@pytest.mark.parametrize(
    ("name", "status", "kind", "words"),
    [
        ("ollama/chat_unknown_model", 404, CONFIGURATION, "model 'nope:1b' not found"),
        ("ollama/v1_chat_unknown_model", 404, CONFIGURATION, "model 'nope' not found"),
        ("vllm/chat_unknown_model", 404, CONFIGURATION, "`no-such-model` does not exist"),
        ("llamacpp/router_chat_4_nope", 400, CONFIGURATION, "model 'nope' not found"),
        ("llamacpp/not_found", 404, CONFIGURATION, "File Not Found"),
        ("ollama/chat_get_405", 405, CONFIGURATION, "405 method not allowed"),
        ("ollama/host_header_403", 403, CONFIGURATION, "(empty body) (check the endpoint's api_key_env"),
        ("vllm/auth_missing", 401, CONFIGURATION, "Unauthorized (check the endpoint's api_key_env"),
        ("llamacpp/auth_missing", 401, CONFIGURATION, "Invalid API Key (check the endpoint's api_key_env"),
        ("ollama/queue_full_2", 503, CAPACITY, "server busy, please try again"),
        ("vllm/queue_full_reject", 503, CAPACITY, "engine is currently busy"),
        ("llamacpp/chat_while_loading", 503, CAPACITY, "Loading model"),
        ("ollama/ctx_overflow_truncate_false", 400, OVERFLOW, "exceeds the available context size (4096 tokens)"),
        ("ollama/ctx_overflow_shift_false", 400, OVERFLOW, "longer than the context length"),
        ("vllm/chat_context_overflow_prompt", 400, OVERFLOW, "maximum context length is 4096 tokens"),
        ("vllm/chat_context_overflow_max_tokens", 400, OVERFLOW, "cannot be greater than max_model_len=4096"),
        ("llamacpp/chat_context_overflow", 400, OVERFLOW, "exceeds the available context size (4096 tokens)"),
        ("ollama/chat_bad_option_type", 500, DETERMINISTIC, 'option "temperature" must be of type float32'),
        ("ollama/chat_format_bad_string", 500, DETERMINISTIC, "invalid format"),
        ("ollama/chat_bad_keep_alive", 400, DETERMINISTIC, "invalid duration"),
        ("ollama/chat_think_unsupported", 400, DETERMINISTIC, "does not support thinking"),
        ("vllm/bad_schema_unsupported_keyword", 400, DETERMINISTIC, "uniqueItems"),
        ("vllm/two_structured_constraints", 400, DETERMINISTIC, "only use one kind of constraints"),
        ("llamacpp/chat_bad_temperature", 400, DETERMINISTIC, "type must be number, but is string"),
        ("vllm/engine_dead_500", 500, TRANSIENT, "EngineCore encountered an issue"),
        ("ollama/runner_killed_nonstream", 500, TRANSIENT, "unexpected EOF"),
        ("llamacpp/kv_unified_overflow_0", 500, TRANSIENT, "Context size has been exceeded."),
    ],
)
def test_recorded_refusal_has_its_class(name: str, status: int, kind: ErrorClass, words: str) -> None:
    refusal = recorded(name)

    error = error_of(refusal, ADDRESS)

    assert refusal.status == status
    assert error.kind is kind
    assert str(error).startswith(f"{ADDRESS} answered {status}: ")
    assert words in str(error)


def test_full_queue_keeps_servers_wish() -> None:
    error = error_of(recorded("ollama/queue_full_2", retry_after_s=7), ADDRESS)

    assert error.retry_after_s == 7


@pytest.mark.parametrize("status", [429, 503])
def test_no_room_needs_no_words(status: int) -> None:
    assert error_of(answer(status), ADDRESS).kind is CAPACITY


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory",
        "cudaMalloc failed",
        "model requires more system memory (9.0 GiB) than is available (4.1 GiB)",
    ],
)
def test_memory_exhausted_is_capacity(words: str) -> None:
    assert error_of(answer(500, {"error": words}), ADDRESS).kind is CAPACITY


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_status_without_reason_may_pass(status: int) -> None:
    assert error_of(answer(status, excerpt="<html>Bad Gateway</html>"), ADDRESS).kind is TRANSIENT


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(402, CONFIGURATION), (410, CONFIGURATION)],
        *[(409, TRANSIENT), (421, TRANSIENT), (425, TRANSIENT)],
        *[(413, DETERMINISTIC), (422, DETERMINISTIC), (451, DETERMINISTIC)],
    ],
)
def test_status_alone_says_its_class(status: int, kind: ErrorClass) -> None:
    assert error_of(answer(status, {"error": {"message": "no"}}), ADDRESS).kind is kind


def test_unpaid_account_says_what_to_do() -> None:
    error = error_of(answer(402, {"error": {"message": "Insufficient credits"}}), ADDRESS)

    assert "Insufficient credits (the account behind the endpoint's key has to be paid for)" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "excerpt"),
    [
        (502, None, "<html>Unsupported protocol: invalid format</html>"),
        (500, None, "<html>invalid format</html>"),
        (502, {"error": "invalid format"}, ""),
        (500, {"error": 'Post "": unsupported protocol scheme'}, ""),
        (500, {"detail": "invalid option"}, ""),
        (504, None, "<html>upstream context length header</html>"),
        (500, None, "<html>model 'x' not found</html>"),
    ],
)
def test_only_servers_own_words_are_final(status: int, body: Any, excerpt: str) -> None:
    assert error_of(answer(status, body, excerpt), ADDRESS).kind is TRANSIENT


def test_address_is_not_read_as_words() -> None:
    error = error_of(answer(500, {"error": "unexpected EOF"}), "http://context-size.example/out of memory")

    assert error.kind is TRANSIENT


@pytest.mark.parametrize(
    ("body", "excerpt", "words"),
    [
        ({"error": "server busy"}, "", "server busy"),
        ({"error": {"message": "no such model", "code": 404}}, "", "no such model"),
        ({"error": {"code": 404}}, "", "{'code': 404}"),
        ({"detail": "Not Found"}, "", "{'detail': 'Not Found'}"),
        (["no"], '["no"]', '["no"]'),
        (None, "<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (None, "", "(empty body)"),
    ],
)
def test_servers_own_words_are_found(body: Any, excerpt: str, words: str) -> None:
    assert error_text(answer(502, body, excerpt)) == words
