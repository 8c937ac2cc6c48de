"""What endpoints tell before a run: whether they answer, what they have loaded, how large their models are.

Asked is only what a plan depends on, and no model is called. A plan can be made without any server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.app.casting import Casting
from orchestrator.app.workplace import Workplace
from orchestrator.errors import CapacityError, EndpointError, TransientError
from orchestrator.measures import ModelFile

_LOADED = ("vllm",)  # they answer for all of their models at any time
_CHANGED = ("ollama",)  # others may have changed what it has loaded; the rest have nothing loaded before a run
_ELSEWHERE = ("ollama", "vllm")  # servers of their own, which may be down


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one endpoint told.

    Attributes:
        answers: False if it was asked and did not answer, or has no room yet.
        files: its models' files; None where their sizes matter and it did not tell.
        loaded: the models it has loaded.
    """

    answers: bool
    files: Mapping[str, ModelFile] | None
    loaded: frozenset[str]


def ask(workplace: Workplace, castings: Sequence[Casting]) -> list[Told]:
    """Ask all endpoints at once."""

    async def answers() -> list[Told]:
        return list(await asyncio.gather(*(_ask(workplace, each, castings) for each in castings)))

    return asyncio.run(answers())


def taking_part(castings: Sequence[Casting], told: Sequence[Told]) -> list[Casting]:
    """Those that a run begins with: of one that is down the others take the turns, if they can."""
    up = [casting for casting, each in zip(castings, told, strict=True) if each.answers]
    return [each for each in castings if each in up or not each.models.keys() <= _others(each, up)]


def _others(casting: Casting, castings: Sequence[Casting]) -> set[str]:
    return {model for other in castings if other is not casting for model in other.models}


async def _ask(workplace: Workplace, casting: Casting, castings: Sequence[Casting]) -> Told:
    settings = casting.settings
    loaded = frozenset(casting.models) if settings.backend in _LOADED else frozenset[str]()
    replica = settings.backend in _ELSEWHERE and not casting.models.keys().isdisjoint(_others(casting, castings))
    if not (replica or settings.backend in _CHANGED or settings.holds_gib):
        return Told(answers=True, files=None, loaded=loaded)
    # LangGraph and LangChain come with it, and take most of a second.
    from orchestrator.app.lanes import open_endpoint

    endpoint = open_endpoint(workplace.config, casting)
    files: Mapping[str, ModelFile] | None = None
    answers = True
    try:
        loaded = await endpoint.loaded()
        files = await endpoint.files() if settings.holds_gib else {}
    except (TransientError, CapacityError):
        answers = False
    except EndpointError:
        pass  # it did answer; a run would stop and say what is wrong with it
    finally:
        await endpoint.close()
    return Told(answers=answers, files=files, loaded=loaded)
