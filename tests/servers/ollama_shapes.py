"""The JSON that Ollama writes: one shape for its native calls, one for `/v1`, and the lists of models."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, TypeAlias

from .ollama_asks import Json
from .ollama_replies import RUNNER_DIED, WORDS, Said
from .ollama_runners import Runner

BORN = datetime(2026, 1, 1, tzinfo=UTC)
TRAINED_CTX = 32768
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "820K",
    "quantization_level": "unknown",
}


@dataclass(frozen=True, slots=True)
class Native:
    """`/api/chat`: one JSON object, or one a line."""

    content_type: ClassVar[str] = "application/json; charset=utf-8"
    stream_type: ClassVar[str] = "application/x-ndjson"

    def error(self, status: int, text: str) -> Json:
        """`{"error": text}`, whatever the status."""
        return {"error": text}

    def whole(self, said: Said) -> Json:
        """The reply with its counts; a call that only loads or unloads has none."""
        message = {"role": "assistant", "content": said.text} | ({"thinking": WORDS} if said.thinking else {})
        return {**self._opening(said, message), **self._counts(said)}

    def parts(self, said: Said) -> list[str]:
        """One line a token."""
        texts = [{"role": "assistant", "content": part} for part in said.parts]
        thoughts = [{"role": "assistant", "content": "", "thinking": WORDS}] if said.thinking else []
        return [line({**self._opening(said, message), "done": False}) for message in thoughts + texts]

    def end(self, said: Said) -> str:
        """The counts, or the error of a runner that died: the status went out long before."""
        if said.died:
            return line(self.error(200, RUNNER_DIED))
        return line({**self._opening(said, {"role": "assistant", "content": ""}), **self._counts(said)})

    def _opening(self, said: Said, message: Json) -> Json:
        return {"model": said.model, "created_at": stamp(datetime.now(UTC)), "message": message}

    def _counts(self, said: Said) -> Json:
        done = {"done": True, "done_reason": said.done_reason}
        if said.done_reason in ("load", "unload"):
            return done
        return done | {
            "total_duration": said.total_ns,
            "load_duration": said.load_ns,
            "prompt_eval_count": said.prompt_tokens,
            "prompt_eval_duration": said.prompt_ns,
            "eval_count": said.tokens,
            "eval_duration": said.eval_ns,
        }


@dataclass(frozen=True, slots=True)
class OpenAI:
    """`/v1/chat/completions`: one JSON object, or server-sent events that end with `[DONE]`."""

    number: int = 0
    with_usage: bool = False
    content_type: ClassVar[str] = "application/json"
    stream_type: ClassVar[str] = "text/event-stream"

    def error(self, status: int, text: str) -> Json:
        """An error object as OpenAI writes it."""
        kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
        return {"error": {"message": text, "type": kind, "param": None, "code": None}}

    def whole(self, said: Said) -> Json:
        """The reply with its usage; it gives no durations."""
        message = {"role": "assistant", "content": said.text}
        choice = {"index": 0, "message": message, "finish_reason": said.done_reason}
        return {**self._opening(said, "chat.completion"), "choices": [choice], "usage": self._usage(said)}

    def parts(self, said: Said) -> list[str]:
        """One event a token; the first names the role."""
        roles = [{"role": "assistant"}] + [{}] * len(said.parts)
        deltas = [{**role, "content": part} for role, part in zip(roles, said.parts, strict=False)]
        return [self._event(said, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]

    def end(self, said: Said) -> str:
        """The reason, the usage if asked for, `[DONE]`; after a runner's death nothing that tells of it."""
        if said.died:
            return self._event(said, [{"index": 0, "delta": {"content": ""}, "finish_reason": None}])
        usage = self._event(said, [], usage=self._usage(said)) if self.with_usage else ""
        reason = {"index": 0, "delta": {}, "finish_reason": said.done_reason}
        return self._event(said, [reason]) + usage + "data: [DONE]\n\n"

    def _event(self, said: Said, choices: list[Json], **more: Json) -> str:
        return f"data: {line({**self._opening(said, 'chat.completion.chunk'), 'choices': choices, **more})}\n"

    def _opening(self, said: Said, kind: str) -> Json:
        created = int(datetime.now(UTC).timestamp())
        name = f"chatcmpl-{self.number}"
        return {"id": name, "object": kind, "created": created, "model": said.model, "system_fingerprint": "fp_ollama"}

    def _usage(self, said: Said) -> Json:
        total = said.prompt_tokens + said.tokens
        return {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.tokens, "total_tokens": total}


# How one of the two interfaces writes what was said.
Dialect: TypeAlias = Native | OpenAI


def full_name(model: str) -> str:
    """The name with its tag: `latest` unless it has one."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def stamp(moment: datetime) -> str:
    """A time as Go writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def line(value: Json) -> str:
    """A value on one line, without the blanks that Go leaves out."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def tags(abilities: Mapping[str, list[str]]) -> Json:
    """`/api/tags`: what is installed, and what each model can do."""
    details = {**DETAILS, "context_length": TRAINED_CTX, "embedding_length": 128}
    fixed = {"modified_at": stamp(BORN), "details": details}
    return {"models": [{**_named(name), **fixed, "capabilities": able} for name, able in sorted(abilities.items())]}


def running(runners: Iterable[Runner]) -> Json:
    """`/api/ps`: what is loaded, the one that stays longest first."""
    latest_first = sorted(runners, key=Runner.expires_at, reverse=True)
    return {
        "models": [
            {
                **_named(runner.model),
                "details": DETAILS,
                "expires_at": stamp(runner.expires_at()),
                "size_vram": 0,
                "context_length": runner.settings.num_ctx,
            }
            for runner in latest_first
        ]
    }


def shown(model: str, abilities: list[str], weights: str = "") -> Json:
    """`/api/show`: one model in detail; `weights` is the path of its file."""
    name = full_name(model)
    source = f"\nFROM {weights}\n" if weights else ""
    return {
        "modelfile": f"# To build a new Modelfile based on this, replace FROM with:\n# FROM {name}\n{source}",
        "parameters": 'stop                           "<|im_end|>"',
        "template": "{{- range .Messages }}{{ .Content }}{{ end }}",
        "details": DETAILS,
        "model_info": {"general.architecture": "llama", "llama.context_length": TRAINED_CTX},
        "tensors": [{"name": "output.weight", "type": "F32", "shape": [128, 2048]}],
        "capabilities": abilities,
        "modified_at": stamp(BORN),
    }


def model_list(models: Iterable[str]) -> Json:
    """`/v1/models`: the same in OpenAI's words."""
    fixed = {"object": "model", "created": int(BORN.timestamp()), "owned_by": "library"}
    return {"object": "list", "data": [{"id": full_name(model), **fixed} for model in sorted(models)]}


def _named(model: str) -> Json:
    name = full_name(model)
    return {"name": name, "model": name, "size": 20_101_200, "digest": hashlib.sha256(name.encode()).hexdigest()}
