"""Endpoints made from their settings, and asked whether they have what is wanted of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from orchestrator.app.casting import Casting
from orchestrator.app.weights import shared_weights
from orchestrator.app.working import Working, turns_in_flight
from orchestrator.backends.fallback import FallbackEndpoint
from orchestrator.config import Config, EndpointSettings
from orchestrator.errors import CapacityError, EndpointError, SetupError, TransientError, UnreachableError
from orchestrator.ports import Endpoint, Sampling
from orchestrator.scheduler.context import LaneSettings


def open_lane(config: Config, working: Working) -> LaneSettings:
    """An endpoint made for a run, not yet connected, and how it is to be worked."""
    waves = working.wave_size is not None
    endpoint, models = open_endpoint(config, working.casting), working.casting.models
    named = any(sampling.fallback_context or sampling.fallback_model for sampling in models.values())
    fallback = FallbackEndpoint(endpoint, models) if named else None
    return LaneSettings(
        endpoint=fallback or endpoint,
        fallback=fallback,
        models=working.casting.models,
        room=working.room,
        workers=working.workers,
        slots=working.slots,
        first=working.first,
        measured=working.measured,
        waves=waves,
        wave_size=working.wave_size or 1,
    )


def open_endpoint(config: Config, casting: Casting) -> Endpoint:
    """An endpoint made from its settings, not yet connected."""
    settings = casting.settings
    workers, slots = turns_in_flight(config.settings, casting)
    key = config.keys.get(casting.name)
    return _MAKERS[settings.backend](casting.name, settings, config.home, key, slots or workers or 1)


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


async def preflight(endpoint: Endpoint, models: Mapping[str, Sampling]) -> None:
    """Ask an endpoint whether it has the models wanted of it, before the first record is spent on it.

    Raises:
        UnreachableError: it does not answer, or has no room yet.
        SetupError: it does not have them; the message lists those it has.
    """
    name = endpoint.name
    wanted = {*models, *(each.fallback_model for each in models.values() if each.fallback_model)}
    try:
        there = await endpoint.available()
    except (TransientError, CapacityError) as error:
        hint = "is it running?" if isinstance(error, TransientError) else "is it still loading? then wait for it"
        raise UnreachableError(f"endpoint {name!r}: {error} ({hint})") from error
    except EndpointError as error:
        raise SetupError(f"endpoint {name!r}: {error}") from error
    missing = sorted(wanted - there) if there is not None else []
    if missing:
        have = ", ".join(sorted(there or ())) or "none"
        near = list(dict.fromkeys(found for model in missing for found in _near(model, there or ())))
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        raise SetupError(f"endpoint {name!r} has no model {', '.join(map(repr, missing))}{hint}; it has: {have}")


async def look_first(lanes: Sequence[LaneSettings]) -> list[str]:
    """Ask all endpoints before the first record; what somebody should know of them.

    One that does not answer, or is still loading, is left to its own lane if the others serve its models meanwhile.

    Raises:
        UnreachableError: it does not answer, and nobody else serves its models.
        SetupError: an endpoint lacks a model, or cannot be worked with as it is set.
    """
    warnings: list[str] = []
    for lane in lanes:
        try:
            await preflight(lane.endpoint, lane.models)
            warnings += await shared_weights(lane.endpoint, lane.models)
        except UnreachableError:
            if not _others_serve(lane, lanes):
                raise
    return warnings


def _others_serve(lane: LaneSettings, lanes: Sequence[LaneSettings]) -> bool:
    others = {model for other in lanes if other is not lane for model in other.models}
    return lane.models.keys() <= others


def _near(model: str, there: Collection[str]) -> list[str]:
    """The name that was most likely meant, if any is alike."""
    # With its tag left out a name is alike to too many others, and with it to those that differ in the tag.
    alike = [name for name in sorted(there) if name.partition(":")[0] == model.partition(":")[0]]
    return alike[:1] or difflib.get_close_matches(model, sorted(there), n=1)
