"""Settings: flags over environment over orchestrate.toml over defaults, read once into one frozen value."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from orchestrator import redaction
from orchestrator.errors import ConfigError


def failures_allowed(value: object) -> str:
    """How many failed tasks a run puts up with, as `10` or `5%`. Raises ValueError for anything else but nothing."""
    text = str(value)
    if text and not re.fullmatch(r"[0-9]{1,9}|([0-9]{1,2}|100)%", text):
        raise ValueError(f"must be a whole number of tasks or a per cent of them, as 10 or 5%, not {value!r}")
    return text


def _up_to(most: int, least: int = 1) -> BeforeValidator:
    def check(value: object) -> object:
        if value == "auto":
            return value
        try:
            number = int(str(value))
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"must be auto or a whole number from {least} to {most}, not {value!r}")
        return number

    return BeforeValidator(check)


_MOST_WORKERS = 4096
_MOST_IN_A_WAVE = 1_000_000
_Auto = int | Literal["auto"]

# What looks otherwise may be the key itself, put in the wrong place, and is not repeated.
_SECRET_IN_URL = re.compile(r"//[^/]*@|[?#]")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")

FILE = "orchestrate.toml"
PREFIX = "ORCHESTRATE_"


class EndpointSettings(BaseModel):
    """One `[endpoints.NAME]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["ollama", "vllm", "llamacpp", "rehearsal"] = Field(
        description="what answers there: ollama, vllm (any OpenAI-compatible server), llamacpp (GGUF files served in "
        "this process; needs the llamacpp extra) or rehearsal (no model)"
    )
    url: str = Field(
        default="",
        description="the server's address: http://127.0.0.1:11434 for ollama, http://127.0.0.1:8000/v1 for vllm; "
        "not for llamacpp and rehearsal",
    )
    models: tuple[str, ...] = Field(
        default=(), description="the models it may serve; none means every model that no other endpoint names"
    )
    gguf: Mapping[str, Path] = Field(
        default_factory=dict,
        description='llamacpp only: model names and their files, { "small" = "models/small.gguf" }',
    )
    holds: int = Field(
        default=0,
        strict=True,
        ge=0,
        description="models it can hold at once; 0 means 1 for ollama and llamacpp, all for the others",
    )
    holds_gib: float = Field(
        default=0,
        strict=True,
        allow_inf_nan=False,
        ge=0,
        description="GiB of models it can hold at once, by the sizes the server tells; 0 means no limit but `holds`",
    )
    slots: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=4096,
        description="turns it works on at once for one model, as OLLAMA_NUM_PARALLEL or --max-num-seqs; 0 means that "
        'max_workers = "auto" finds out',
    )
    max_workers: Annotated[_Auto, _up_to(_MOST_WORKERS, least=0)] = Field(
        default=0, description='turns in flight here, or "auto"; 0 means the general max_workers'
    )
    weight: float = Field(
        default=1,
        strict=True,
        allow_inf_nan=False,
        gt=0,
        le=1000,
        description="its share of the work beside other endpoints with its models: multiplies its wave and the general "
        "max_workers",
    )
    keep_alive: str = Field(
        default="30m",
        pattern=r"^-?\d+(\.\d+)?(ms|s|m|h)$",
        description="ollama only: how long a model stays loaded after its last call, as 30m or 2h",
    )
    threads: int = Field(default=1, ge=1, le=1024, description="llamacpp only: CPU threads of each loaded model")
    api_key_env: str = Field(default="", description="the environment variable that holds the server's API key")
    api_key_file: Path | None = Field(default=None, description="the file that holds the server's API key")

    @model_validator(mode="after")
    def _fits_its_backend(self) -> Self:
        needs_url = self.backend in ("ollama", "vllm")
        if needs_url and not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"url: an endpoint of backend {self.backend} needs one that begins with http:// or https://"
            )
        if _SECRET_IN_URL.search(self.url):
            raise ValueError(
                "url: put no password into an address, and nothing behind a ? or #; use api_key_env or api_key_file"
            )
        if not needs_url and self.url:
            raise ValueError(f"url: an endpoint of backend {self.backend} has none")
        if self.backend == "llamacpp" and not self.gguf:
            raise ValueError('gguf: an endpoint of backend llamacpp needs it, as in gguf = { "small" = "small.gguf" }')
        if self.holds_gib and self.backend not in ("ollama", "llamacpp"):
            raise ValueError(f"holds_gib: a server of backend {self.backend} does not tell how large its models are")
        if self.api_key_env.startswith(PREFIX):
            raise ValueError(f"api_key_env: a name that begins with {PREFIX} is taken for a setting; use another")
        if self.api_key_env and self.api_key_file:
            raise ValueError("api_key_env, api_key_file: set one of them")
        return self

    def holds_at_once(self) -> int | None:
        """Models it holds at once; None for all, or as many as fit into `holds_gib`."""
        return self.holds or (1 if self.backend in ("ollama", "llamacpp") and not self.holds_gib else None)


class Settings(BaseModel):
    """All settings. Paths are relative to the folder of orchestrate.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: Path = Field(default=Path("orchestrate.db"), description="the SQLite file; any path")
    synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL",
        description="FULL: a finished turn survives a power cut; NORMAL: the last ones may be spoken again",
    )
    max_workers: Annotated[_Auto, _up_to(_MOST_WORKERS)] = Field(
        default="auto",
        description="turns in flight on each endpoint, 1 to 4096; auto: its slots, or found while running",
    )
    order: Literal["auto", "waves", "depth"] = Field(
        default="auto",
        description="waves: begin tasks in waves, each finished before the next; depth: finish what is begun before "
        "beginning more; auto: waves where an endpoint cannot hold all of its models at once, else depth",
    )
    wave_size: Annotated[_Auto, _up_to(_MOST_IN_A_WAVE)] = Field(
        default="auto", description="tasks in a wave; auto: so many that loading models takes about 1 % of the time"
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="failed attempts at one turn before its task fails; 1 to 100"
    )
    max_failures: Annotated[str, BeforeValidator(failures_allowed)] = Field(
        default="",
        description="failed tasks that a run puts up with, as 10, or as 5% of those that ended (once 20 have); with "
        "more it stops and says why; empty: any number",
    )
    lease_s: float = Field(
        default=60, ge=1, le=86_400, description="seconds until a dead worker's tasks can be claimed again; 1 to 86400"
    )
    grace_s: float = Field(
        default=30, ge=0, le=3600, description="seconds that turns in flight get to finish after Ctrl-C; 0 to 3600"
    )
    longest_line: int = Field(
        default=1_048_576,
        ge=1024,
        le=1_073_741_824,
        description="bytes of the longest record submit takes; 1024 to 1 GiB",
    )
    endpoints: Mapping[str, EndpointSettings] = Field(
        default_factory=lambda: {"rehearsal": EndpointSettings(backend="rehearsal")},
        description="where models answer; without any, the rehearsal",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings as they hold for this invocation, and the folder they are relative to."""

    home: Path
    settings: Settings
    keys: Mapping[str, SecretStr]  # API keys by endpoint

    @property
    def database(self) -> Path:
        """The SQLite file, absolute."""
        return self.home / self.settings.database


def read_config(home: Path, flags: Mapping[str, Any]) -> Config:
    """Settings of the folder `home`; `flags` that are None were not given.

    Raises:
        ConfigError: an unknown or wrong key, or an API key that is not where it should be; names the source.
    """
    path = home / FILE
    table = _file(path)
    given = {name: value for name, value in flags.items() if value is not None}
    sources = [("a flag", given), ("the environment", _environment()), (str(path), table)]
    merged: dict[str, Any] = {}
    for _, source in reversed(sources):
        merged |= source
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_problem(problem, sources) for problem in error.errors(include_url=False))
        ) from error
    keys = {name: key for name, endpoint in settings.endpoints.items() if (key := _api_key(home, name, endpoint))}
    return Config(home=home, settings=settings, keys=keys)


def restrict_langgraph() -> None:
    """Let LangGraph revive no objects from stored bytes, whatever the environment says. Here it stores none anyway."""
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"


def _file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _environment() -> dict[str, str]:
    known = {PREFIX + name.upper(): name for name in Settings.model_fields if name != "endpoints"}
    found = {}
    for variable, value in os.environ.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in known:
            # The prefix that all of them share would make any two of them look alike.
            near = difflib.get_close_matches(variable.removeprefix(PREFIX).lower(), known.values(), n=1)
            hint = f" (did you mean {PREFIX}{near[0].upper()}?)" if near else f"; known: {', '.join(sorted(known))}"
            raise ConfigError(f"the environment sets {variable}, which is no setting{hint}")
        found[known[variable]] = value
    return found


def _problem(problem: Any, sources: list[tuple[str, dict[str, Any]]]) -> str:
    where = [str(part) for part in problem["loc"]]
    source = next((name for name, table in sources if where and where[0] in table), "settings")
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = EndpointSettings.model_fields if where[0] == "endpoints" else Settings.model_fields
        near = difflib.get_close_matches(where[-1], known, n=1)
        text = "there is no such key" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    return f"{source}: {'.'.join(where)}: {text}"


def _api_key(home: Path, name: str, endpoint: EndpointSettings) -> SecretStr | None:
    if endpoint.api_key_env:
        value = os.environ.get(endpoint.api_key_env, "").strip()
        variable = endpoint.api_key_env if _VARIABLE.fullmatch(endpoint.api_key_env) else "that api_key_env names"
        if not value:
            raise ConfigError(f"endpoint {name!r}: the environment variable {variable} is not set or empty")
        return _one_line(value, f"endpoint {name!r}: the key in the environment variable {variable}")
    if endpoint.api_key_file:
        path = home / endpoint.api_key_file
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            # Without the file's name: people put the key itself there.
            why = (error.strerror if isinstance(error, OSError) else "") or "it is not UTF-8"
            raise ConfigError(f"endpoint {name!r}: its api_key_file cannot be read: {why}") from error
        if not value:
            raise ConfigError(f"endpoint {name!r}: its api_key_file {path} is empty")
        return _one_line(value, f"endpoint {name!r}: the key in {path}")
    return None


def _one_line(value: str, what: str) -> SecretStr:
    if not value.isprintable():
        raise ConfigError(f"{what} has a line break or another control character in it: give the key alone")
    redaction.keep_out(value)
    return SecretStr(value)
