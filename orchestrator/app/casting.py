"""Which endpoint speaks for which model: the cards name models, the settings name servers, here they meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.cast import Actor, Debate
from orchestrator.config import Config, EndpointSettings
from orchestrator.domain import Role
from orchestrator.errors import ConfigError
from orchestrator.ports import Sampling
from orchestrator.sharing import disagreement

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
        models.setdefault(actor.model, actor)
        # Within one debate the cast was refused already; two debates may differ where no server loads for a context.
        if settings.backend in ("ollama", "llamacpp") and (problem := disagreement([*models.values(), actor])):
            raise ConfigError(problem)
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
