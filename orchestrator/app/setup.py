"""The first minutes: a folder with cards, prompts, a sample and commented settings."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from orchestrator.assets import shipped
from orchestrator.config import FILE, EndpointSettings, Settings

_HEAD = """\
# Settings of this folder. A flag wins over an environment variable (ORCHESTRATE_DATABASE, …), and that over this file.
# Every key stands here with its default; take the # away to change it.
"""
_ENDPOINTS = """\

# Where models answer. Without any endpoint the rehearsal speaks: no model, no GPU, simple cues. For real models, start
# a server, take the # away from one of the tables below, and name your models in actors/*.toml (model = "qwen2.5:7b").
# `orchestrate doctor` tells whether it all fits together. All keys of an endpoint, with their defaults:
"""
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "ollama": {"backend": "ollama", "url": "http://127.0.0.1:11434", "slots": 1},
    "vllm": {"backend": "vllm", "url": "http://127.0.0.1:8000/v1", "max_workers": "auto"},
    "gguf": {"backend": "llamacpp", "gguf": '{ "small" = "models/small.gguf" }'},
}
_REMARKS = {
    ("ollama", "slots"): "as OLLAMA_NUM_PARALLEL of the server; leave it out, and a run finds out",
    ("vllm", "max_workers"): "a run finds out how many turns its cache has room for; a number keeps to that",
}


def init(folder: Path, *, force: bool = False) -> list[Path]:
    """Write actors/, prompts/ with their samples, and orchestrate.toml; the paths written.

    Files that exist already are left alone, unless `force`.
    """
    written = []
    for source in _shipped_files():
        target = folder / source.relative_to(shipped())
        if force or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written.append(target)
    target = folder / FILE
    if force or not target.exists():
        target.write_text(settings_text(), encoding="utf-8")
        written.append(target)
    return written


def _shipped_files() -> Iterator[Path]:
    for kind in ("actors", "prompts"):
        yield from sorted(path for path in (shipped() / kind).rglob("*") if path.is_file())


def settings_text() -> str:
    """A commented orchestrate.toml, made from the settings' own declarations."""
    lines = [_HEAD]
    for name, field in Settings.model_fields.items():
        if name != "endpoints":
            lines += [f"# {field.description}", f"#{name} = {_toml(_default(field))}", ""]
    lines.append(_ENDPOINTS + _endpoint_keys())
    for title, values in _EXAMPLES.items():
        lines += [f"#[endpoints.{title}]", *(_line(title, name, value) for name, value in values.items()), ""]
    return "\n".join(lines) + "\n"


def _line(title: str, name: str, value: Any) -> str:
    remark = _REMARKS.get((title, name))
    return f"#{name} = {_toml(value)}{f'  # {remark}' if remark else ''}"


def _endpoint_keys() -> str:
    lines = []
    for name, field in EndpointSettings.model_fields.items():
        default = "has to be given" if field.is_required() else f"default {_toml(_default(field))}"
        lines += textwrap.wrap(
            f"{name}: {field.description} ({default})", 118, initial_indent="#   ", subsequent_indent="#     "
        )
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _toml(value: Any) -> str:
    match value:
        case None:
            return "none"
        case tuple():
            return "[]"
        case dict():
            return "{}"
    if isinstance(value, str | Path):
        text = str(value)
        return text if text.startswith("{") else f'"{text}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
