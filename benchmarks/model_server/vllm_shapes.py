"""The JSON and the metrics that vLLM writes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.servers.ollama_asks import Json

FINGERPRINT = "vllm-0.32.0-a75899ce"
NOTHING_MORE = (
    "prompt_logprobs",
    "prompt_token_ids",
    "prompt_text",
    "kv_transfer_params",
    "ec_transfer_params",
    "metrics",
)
UNSAID = ("refusal", "annotations", "audio", "function_call", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply; `parts` are its tokens as a stream brings them."""

    number: int
    model: str
    parts: Sequence[str]
    reason: str
    stopped_at: str | None
    prompt_tokens: int
    tokens: int
    cached: int
    created_cache: int


def whole(reply: Reply) -> Json:
    """A reply in one piece."""
    message = {"role": "assistant", "content": "".join(reply.parts), **dict.fromkeys(UNSAID)}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": reply.reason,
        "stop_reason": reply.stopped_at,
        "token_ids": None,
        "routed_experts": None,
    }
    details = {**_details(reply), "multimodal_tokens": None}
    usage = {**_usage(reply), "prompt_tokens_details": details, "completion_tokens_details": None}
    closing = {"service_tier": None, "system_fingerprint": FINGERPRINT, "usage": usage, **dict.fromkeys(NOTHING_MORE)}
    return {**_opening(reply, "chat.completion"), "choices": [choice], **closing}


def stream(reply: Reply, with_usage: bool) -> list[str]:
    """A reply as events: the role, a token each, the usage if asked for, `[DONE]`."""
    opening = _opening(reply, "chat.completion.chunk")
    role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    events = [{**opening, "choices": [role], "prompt_token_ids": None, "prompt_text": None}]
    for number, part in enumerate(reply.parts, start=1):
        last = number == len(reply.parts)
        ending = {"stop_reason": reply.stopped_at} if last else {}
        reason = reply.reason if last else None
        choice = {"index": 0, "delta": {"content": part}, "logprobs": None, "finish_reason": reason, **ending}
        events.append({**opening, "choices": [{**choice, "token_ids": None}]})
    if with_usage:
        events.append({**opening, "choices": [], "usage": {**_usage(reply), "prompt_tokens_details": _details(reply)}})
    events[-1]["system_fingerprint"] = FINGERPRINT
    return [f"data: {json.dumps(event, separators=(',', ':'))}\n\n" for event in events] + ["data: [DONE]\n\n"]


def models(name: str, longest: int, born: float) -> Json:
    """`/v1/models`."""
    rights = {"allow_create_engine": False, "allow_sampling": True, "allow_logprobs": True}
    rights |= {"allow_search_indices": False, "allow_view": True, "allow_fine_tuning": False}
    permission = {"id": "modelperm-0", "object": "model_permission", "created": int(born), **rights}
    permission |= {"organization": "*", "group": None, "is_blocking": False}
    model = {"id": name, "object": "model", "created": int(born), "owned_by": "vllm", "root": name, "parent": None}
    return {"object": "list", "data": [{**model, "max_model_len": longest, "permission": [permission]}]}


def metrics(
    model: str, gauges: Mapping[str, float], counters: Mapping[str, float], config: Mapping[str, object]
) -> str:
    """`/metrics`, the few lines of it that tell of load and cache, in the names and labels recorded."""
    lines = []
    for kind, values in (("gauge", gauges), ("counter", counters)):
        for name, value in values.items():
            lines += [f"# HELP vllm:{name} {name}.", f"# TYPE vllm:{name} {kind}"]
            lines.append(f'vllm:{name}{{engine="0",model_name="{model}"}} {float(value)}')
    labels = ",".join(f'{name}="{value}"' for name, value in config.items())
    lines += ["# HELP vllm:cache_config_info CacheConfig.", "# TYPE vllm:cache_config_info gauge"]
    return "\n".join([*lines, f"vllm:cache_config_info{{{labels}}} 1.0"]) + "\n"


def _opening(reply: Reply, kind: str) -> Json:
    return {"id": f"chatcmpl-{reply.number:016x}", "object": kind, "created": int(time.time()), "model": reply.model}


def _usage(reply: Reply) -> Json:
    total = reply.prompt_tokens + reply.tokens
    return {"prompt_tokens": reply.prompt_tokens, "total_tokens": total, "completion_tokens": reply.tokens}


def _details(reply: Reply) -> Json:
    return {"cached_tokens": reply.cached, "created_cache_tokens": reply.created_cache}
