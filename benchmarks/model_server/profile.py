"""A profile: the GPU, the models, the server's settings and the replies, read from TOML and changed by `--set`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .sharing import Rates

FOLDER = Path(__file__).parent / "profiles"
GIB = 2**30


class Section(BaseModel):
    """A table of a profile; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GpuSettings(Section):
    """One GPU.

    `room` is the share of the VRAM that models may fill together; one alone is loaded whatever it needs.
    `batching` is how many times one stream's rate so many streams decode at together.
    """

    vram_gib: float = 24.0
    room: float = 0.8
    prefill_share: float = Field(default=0.9, gt=0, le=1)
    batching: tuple[tuple[float, float], ...] = ((1, 1.0), (2, 1.8), (4, 3.0), (8, 3.7))


class ModelSettings(Section):
    """One model. `weights` is its file: two names of one file are never in memory together."""

    name: str
    weights: str = ""
    size_gib: float = 5.0
    kv_bytes_per_token: int = 131_072
    context: int = 32_768
    prefill: float = Field(gt=0, description="tokens/s")
    decode: float = Field(gt=0, description="tokens/s of one stream")
    load_s: float | None = None
    abilities: tuple[str, ...] = ("completion",)

    @property
    def file(self) -> str:
        """What a runner is known by."""
        return self.weights or self.name


class OllamaSettings(Section):
    """Ollama's own settings.

    `swap_s` is what it takes to replace a model by another; `unload_s` of it pass before the room is free again.
    """

    slots: int = Field(default=1, ge=1, description="OLLAMA_NUM_PARALLEL")
    max_queue: int = Field(default=512, ge=0, description="OLLAMA_MAX_QUEUE")
    max_loaded: int = Field(default=3, ge=1, description="OLLAMA_MAX_LOADED_MODELS")
    num_ctx: int = Field(default=4096, description="OLLAMA_CONTEXT_LENGTH")
    keep_alive_s: float = Field(default=300.0, description="OLLAMA_KEEP_ALIVE")
    swap_s: float = 2.3
    unload_s: float = 0.5


class VllmSettings(Section):
    """vLLM's own settings. `priority` is what becomes of a request that has one: 0.32 was recorded to ignore it."""

    kv_tokens: int = 100_000
    block_size: int = Field(default=16, ge=1)
    max_num_seqs: int = Field(default=256, ge=1)
    max_num_queued_reqs: int = Field(default=0, ge=0, description="0: no limit")
    max_model_len: int = 32_768
    prefix_caching: bool = True
    priority: Literal["refused", "ignored", "honoured"] = "refused"
    api_key: str = ""
    dev_mode: bool = True


class ReplyRule(Section):
    """How long the replies to prompts are whose last message contains `match`."""

    match: str
    tokens: int


class ReplySettings(Section):
    """What is said. `jitter` 0.2 makes replies up to 20 % shorter or longer.

    `fail_share` 0.02 lets 2 % of calls fail half-way with a 500, in the words of a runner that died; the model stays
    loaded all the same. With `oom_streams` a call beyond so many being answered at once fails for want of memory.
    """

    tokens: int = 150
    by_role: tuple[ReplyRule, ...] = ()
    jitter: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    fail_share: float = Field(default=0.0, ge=0, le=1)
    oom_streams: int = Field(default=0, ge=0)
    chars_per_token: float = Field(default=4.0, gt=0)


class Profile(Section):
    """One server: of which kind, on what, with which models. `replicas` servers are started, a port each."""

    kind: Literal["ollama", "vllm"]
    replicas: int = Field(default=1, ge=1)
    jobs: int = Field(default=0, description="how many debates the profile is measured with; the server ignores it")
    gpu: GpuSettings = GpuSettings()
    ollama: OllamaSettings = OllamaSettings()
    vllm: VllmSettings = VllmSettings()
    replies: ReplySettings = ReplySettings()
    models: tuple[ModelSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_model_on_vllm(self) -> Profile:
        if self.kind == "vllm" and len(self.models) != 1:
            raise ValueError("vLLM serves one model a process: use replicas, or one process for each model")
        return self

    def rates(self, model: ModelSettings) -> Rates:
        """How fast a model goes on this GPU."""
        return Rates(prefill=model.prefill, decode=model.decode, batching=self.gpu.batching)

    def load_s(self, model: ModelSettings) -> float:
        """Seconds from free room to a loaded model."""
        return self.ollama.swap_s - self.ollama.unload_s if model.load_s is None else model.load_s

    def gib(self, model: ModelSettings, num_ctx: int) -> float:
        """What a model needs: its weights, and the cache of every slot."""
        context = min(num_ctx, model.context)
        return model.size_gib + model.kv_bytes_per_token * context * self.ollama.slots / GIB


def load_profile(name: str | Path, changes: Sequence[str] = ()) -> Profile:
    """Read a shipped profile by its name, or any by its path, and change it by `key=value` texts.

    A key is a path such as `models.0.decode`, or the last part of one that only one table has, such as `slots`.

    Raises:
        ValueError: no such profile or key, or a value that does not fit.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"no profile {name!r}; there are {', '.join(sorted(each.stem for each in FOLDER.glob('*')))}")
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"{change!r} is not key=value")
        _put(tree, _full_key(key), _value(text))
    return Profile.model_validate(tree)


def _full_key(key: str) -> list[str]:
    if "." in key or key in Profile.model_fields:
        return key.split(".")
    tables: dict[str, type[Section]] = {
        "gpu": GpuSettings,
        "ollama": OllamaSettings,
        "vllm": VllmSettings,
        "replies": ReplySettings,
    }
    found = [table for table, section in tables.items() if key in section.model_fields]
    if len(found) != 1:
        raise ValueError(f"{key!r} is in {' and '.join(found) or 'no table of a profile'}")
    return [found[0], key]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: Any, path: Sequence[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        tree = tree[int(name)] if isinstance(tree, list) else tree.setdefault(name, {})
    tree[last] = value
