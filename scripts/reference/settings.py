"""docs/reference/settings.md: every key of orchestrate.toml, from the models that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.config import FILE, PREFIX, EndpointSettings, Settings
from scripts.reference.markdown import block, document, mark, table

_ENDPOINTS = "endpoints"
_INTRO = f"""\
Settings are read once, at the start of a command. What is said first in this list wins:

1. a flag: `--database`, `--max-workers`
2. an environment variable: `{PREFIX}…`
3. `{FILE}` in the folder of work: the current one, or `--home`
4. the default

An unknown key is an error, and so is an unknown variable whose name begins with `{PREFIX}`. So give the variable that
`api_key_env` names another beginning. Paths are relative to the folder of `{FILE}`. `orchestrate init` writes a
commented file with every key."""
_TABLES = f"""\
Each `[{_ENDPOINTS}.NAME]` is one server. The name is yours; it stands in the tables and in what a run prints. Endpoints
have no environment variables. Without any endpoint there is one: the rehearsal, which is no model."""
_CARDS = """\
What a model is asked with (its name, its context, its temperature) stands in the cards of `actors/`, because it shapes
the verdict; see [your own debate](../howto/your-own-debate.md). Where models run stands here; see
[servers](../howto/servers.md)."""
_EXAMPLE = """\
[endpoints.gpu]
backend = "ollama"
url = "http://127.0.0.1:11434"
models = ["qwen2.5:7b", "gemma2:9b"]
slots = 4          # as OLLAMA_NUM_PARALLEL of the server
"""


def page() -> str:
    """The page."""
    return document(
        "Settings",
        _INTRO,
        "## General",
        _general(),
        "## Endpoints",
        _TABLES,
        _endpoint(),
        block("toml", _EXAMPLE),
        "## What does not stand here",
        _CARDS,
    )


def _general() -> str:
    rows = [
        [mark(name), field.description or "", _default(field), mark(PREFIX + name.upper())]
        for name, field in _fields(Settings)
        if name != _ENDPOINTS
    ]
    return table(["key", "meaning", "default", "environment variable"], rows)


def _endpoint() -> str:
    rows = [[mark(name), field.description or "", _default(field)] for name, field in _fields(EndpointSettings)]
    return table(["key", "meaning", "default"], rows)


def _fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return mark(_toml(value)) if value not in ("", None, (), {}) else "none"


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str | Path) else str(value)
