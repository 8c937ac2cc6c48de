"""Endpoints made from their settings, and asked whether they have what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from orchestrator.app.casting import Casting
from orchestrator.config import Config, EndpointSettings
from orchestrator.errors import EndpointError, SetupError, TransientError
from orchestrator.ports import Endpoint
from orchestrator.scheduler.run import LaneSettings


def open_lane(config: Config, casting: Casting) -> LaneSettings:
    """A casting with its endpoint made, not yet connected."""
    settings = casting.settings
    workers = settings.max_workers or config.settings.max_workers
    key = config.keys.get(casting.name)
    endpoint = _MAKERS[settings.backend](casting.name, settings, config.home, key, workers)
    return LaneSettings(endpoint=endpoint, models=casting.models, holds=settings.holds_at_once(), max_workers=workers)


# Each backend is imported only when it is used: LangChain's clients take most of a second.


def _ollama(name: str, settings: EndpointSettings, home: Path, key: SecretStr | None, workers: int) -> Endpoint:
    from orchestrator.backends.ollama import OllamaEndpoint
    from orchestrator.backends.wire import Wire

    return OllamaEndpoint(name=name, wire=Wire(settings.url, api_key=key), keep_alive=settings.keep_alive)


def _vllm(name: str, settings: EndpointSettings, home: Path, key: SecretStr | None, workers: int) -> Endpoint:
    from orchestrator.backends.openai import OpenAIEndpoint
    from orchestrator.backends.wire import Wire

    return OpenAIEndpoint(name=name, wire=Wire(settings.url, api_key=key))


def _llamacpp(name: str, settings: EndpointSettings, home: Path, key: SecretStr | None, workers: int) -> Endpoint:
    from orchestrator.backends.llamacpp import LlamaCppEndpoint

    files = {model: home / path for model, path in settings.gguf.items()}
    return LlamaCppEndpoint(name=name, files=files, slots=workers, threads=settings.threads)


def _rehearsal(name: str, settings: EndpointSettings, home: Path, key: SecretStr | None, workers: int) -> Endpoint:
    from orchestrator.backends.rehearsal import RehearsalEndpoint

    return RehearsalEndpoint(name=name)


_Maker = Callable[[str, EndpointSettings, Path, "SecretStr | None", int], Endpoint]
_MAKERS: Mapping[str, _Maker] = {
    "ollama": _ollama,
    "vllm": _vllm,
    "llamacpp": _llamacpp,
    "rehearsal": _rehearsal,
}


async def preflight(lane: LaneSettings) -> None:
    """Ask an endpoint whether it has the models wanted of it, before the first record is spent on it.

    Raises:
        SetupError: it does not answer, or does not have them; the message lists those it has.
    """
    name = lane.endpoint.name
    try:
        there = await lane.endpoint.available()
    except SetupError:
        raise
    except TransientError as error:
        raise SetupError(f"endpoint {name!r}: {error} (is it running? orchestrate doctor tells more)") from error
    except EndpointError as error:
        raise SetupError(f"endpoint {name!r}: {error}") from error
    missing = sorted(set(lane.models) - there) if there is not None else []
    if missing:
        have = ", ".join(sorted(there or ())) or "none"
        raise SetupError(f"endpoint {name!r} has no model {', '.join(map(repr, missing))}; it has: {have}")
