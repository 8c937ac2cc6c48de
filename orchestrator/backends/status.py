"""What a server's error status means: a pure function from an answer to a typed error.

The bodies are those of Ollama 0.33, vLLM 0.32 and llama.cpp, as recorded.
"""

from __future__ import annotations

import re

from orchestrator.backends.wire import Answer
from orchestrator.errors import (
    CapacityError,
    DeterministicError,
    EndpointError,
    OverflowingError,
    SetupError,
    TransientError,
    incomplete,
)

# llama.cpp's slots may share one cache: requests that fit one by one did not fit together.
_TOGETHER = re.compile(r"context size has been exceeded", re.I)
_MEMORY = re.compile(
    r"out of memory|cudaMalloc|requires more system memory|insufficient memory|resource_exhausted", re.I
)
_OVERFLOW = re.compile(
    r"exceed\w* (the )?(available |maximum |model'?s? )*context|context (size|length)|input_tokens|max_model_len"
    r"|prompt is too long",
    re.I,
)
_UNKNOWN_MODEL = re.compile(r"model '[^']*' not found", re.I)
_OPTION = re.compile(r"invalid (option|format)|option .* must be|unmarshal", re.I)
# RFC 9110: a time-out, a conflict, a misdirected request; RFC 8470: too early. The same call may go well later.
_PASSING = frozenset({408, 409, 421, 425})
_LONGEST_TEXT = 1000  # characters; a server may repeat the whole prompt
_WORDS: tuple[tuple[re.Pattern[str], type[EndpointError]], ...] = (
    (_OVERFLOW, OverflowingError),
    (_UNKNOWN_MODEL, SetupError),
)


def error_text(answer: Answer) -> str:
    """The server's own words."""
    body = answer.json
    if isinstance(body, dict):
        error = body.get("error", body)
        if isinstance(error, dict):
            error = error.get("message", error)
        return str(error)[:_LONGEST_TEXT]
    return answer.excerpt or "(empty body)"


def error_of(answer: Answer, address: str) -> EndpointError:
    """The typed error for an answer whose status is not 200."""
    text = f"{address} answered {answer.status}: {error_text(answer)}"
    match answer.status:
        case 401 | 403:
            return SetupError(f"{text} (check the endpoint's api_key_env or api_key_file, and its url)")
        case 402:
            return SetupError(f"{text} (the account behind the endpoint's key has to be paid for)")
        case 404 | 405 | 410:
            return SetupError(text)
        case 429 | 503:
            return CapacityError(text, retry_after_s=answer.retry_after_s)
        case status if status in _PASSING:
            return TransientError(text, retry_after_s=answer.retry_after_s)
    return _by_words(answer, text, answer.status)


def error_without_reply(answer: Answer, address: str) -> EndpointError:
    """The typed error for an answer of 200 that holds no whole reply; an error in it is read as that of a 500."""
    text = f"{address} answered 200 without a reply: {error_text(answer)}"
    return incomplete(_by_words(answer, text, 500) if _says_why(answer) else TransientError(text))


def _says_why(answer: Answer) -> bool:
    """Whether the server itself speaks: a page in its place is that of something between it and us."""
    return isinstance(answer.json, dict) and bool(answer.json.get("error"))


def _by_words(answer: Answer, text: str, status: int) -> EndpointError:
    said = error_text(answer)
    if status >= 500 and _TOGETHER.search(said):
        return TransientError(text)
    if status >= 500 and _MEMORY.search(said):
        return CapacityError(text, memory=True)
    if status < 500 or _says_why(answer):
        for words, error in _WORDS:
            if words.search(said):
                return error(text)
    if 400 <= status < 500:
        return DeterministicError(text)
    # Ollama answers 500 for a wrong option: retrying that would fail for ever.
    wrong_option = status == 500 and _says_why(answer) and _OPTION.search(said)
    return DeterministicError(text) if wrong_option else TransientError(text)
