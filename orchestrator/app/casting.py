"""Which endpoint speaks for which model: the cards name models, the settings name servers, here they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from orchestrator.cast import Actor, Debate
from orchestrator.config import Config, EndpointSettings
from orchestrator.domain import Role
from orchestrator.errors import ConfigError, EndpointError, SetupError, TransientError
from orchestrator.ports import Endpoint, Sampling
from orchestrator.scheduler.run import LaneSettings

_REHEARSAL = "rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Casting:
    """One endpoint, and the models that the debates want of it."""

    name: str
    settings: EndpointSettings
    models: Mapping[str, Sampling]


def cast_models(config: Config, debates: Iterable[Debate], only: str | None = None) -> list[Casting]:
    """Every endpoint that the debates need, with its models; only one endpoint, if `only` names it.

    Raises:
        ConfigError: no endpoint serves a model, or two actors want one model loaded in two ways.
    """
    actors = {(debate.name, actor.role): actor for debate in debates for actor in debate.actors}
    castings = []
    served: set[str] = set()
    for name, settings in config.settings.endpoints.items():
        models = _models(settings, actors.values(), config)
        served |= models.keys()
        if models and only in (None, name):
            castings.append(Casting(name=name, settings=settings, models=models))
    if only is None:
        _all_served(actors, served, config)
    elif not castings:
        raise ConfigError(f"endpoint {only!r} serves none of the models that the debates want")
    return castings


def _models(settings: EndpointSettings, actors: Iterable[Actor], config: Config) -> dict[str, Sampling]:
    models: dict[str, Actor] = {}
    for actor in actors:
        if not _serves(settings, actor.model, config):
            continue
        other = models.setdefault(actor.model, actor)
        if settings.backend in ("ollama", "llamacpp") and other.sampling.context != actor.sampling.context:
            raise ConfigError(
                f"actors/{other.card}.toml and actors/{actor.card}.toml share the model {actor.model!r} but not its "
                f"context ({other.sampling.context} and {actor.sampling.context}): each change would load it again"
            )
    return {name: actor.sampling for name, actor in models.items()}


def _serves(settings: EndpointSettings, model: str, config: Config) -> bool:
    named = {*settings.models, *settings.gguf}
    if named:
        return model in named
    if (settings.backend == _REHEARSAL) != model.startswith(_REHEARSAL):
        return False
    return not any(model in (*other.models, *other.gguf) for other in config.settings.endpoints.values())


def _all_served(actors: Mapping[tuple[str, Role], Actor], served: set[str], config: Config) -> None:
    for (debate, _), actor in actors.items():
        if actor.model not in served:
            known = ", ".join(config.settings.endpoints) or "none"
            raise ConfigError(
                f"no endpoint serves the model {actor.model!r} of actors/{actor.card}.toml (debate {debate}): "
                f"add it to [endpoints.NAME] in {config.home / 'orchestrate.toml'} (there are: {known})"
            )


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
