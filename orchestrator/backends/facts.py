"""What servers tell of their models without calling one, each in its own words, as recorded.

Ollama tells a model's own context by `/api/show`, and that of a loaded one by `/api/ps`. vLLM tells its
`max_model_len`, and llama.cpp the context of a slot, by `/v1/models`; llama.cpp its slots by `/props` and `/slots`,
which stand beside `/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from orchestrator.backends.numbers import tokens
from orchestrator.backends.wire import Answer, Wire
from orchestrator.domain import Backend
from orchestrator.measures import ModelFacts

_SHOW_S = 10.0
_OUTSIDE_V1 = "/.."  # the wire's address ends in /v1; the client makes one path of both


@runtime_checkable
class OverWire(Protocol):
    """An endpoint that speaks HTTP to each of its models."""

    def wire_to(self, _model: str) -> Wire:
        """The wire that calls of a model go by."""
        ...


async def facts_of(wire: Wire, backend: Backend, model: str) -> ModelFacts:
    """What there is to know of a model. Raises EndpointError if the server does not answer."""
    return await (_of_ollama(wire, model) if backend is Backend.OLLAMA else _of_openai(wire, model))


async def contexts(wire: Wire) -> dict[str, int | None]:
    """The models that an Ollama has loaded, each with the context it was loaded with. Raises EndpointError."""
    models = _objects(_object((await wire.get("/api/ps")).json).get("models"))
    return {str(model.get("name")): tokens(model.get("context_length")) for model in models}


async def busy_slots(wire: Wire) -> int | None:
    """How many slots of a llama.cpp are at work; None if it does not tell. Raises EndpointError."""
    slots = _objects((await wire.get(f"{_OUTSIDE_V1}/slots")).json)
    return sum(slot.get("is_processing") is True for slot in slots) if slots else None


async def _of_ollama(wire: Wire, model: str) -> ModelFacts:
    shown = _object((await wire.post("/api/show", {"model": model}, _SHOW_S)).json)
    about = _object(shown.get("model_info"))
    abilities = shown.get("capabilities")
    loaded = {name.removesuffix(":latest"): context for name, context in (await contexts(wire)).items()}
    return ModelFacts(
        context=loaded.get(model.removesuffix(":latest")),
        trained=tokens(about.get(f"{about.get('general.architecture')}.context_length")),
        thinks="thinking" in abilities if isinstance(abilities, list) else None,
    )


async def _of_openai(wire: Wire, model: str) -> ModelFacts:
    served = _objects(_object((await wire.get("/models")).json).get("data"))
    # A llama.cpp with one model answers to any name.
    only = served[0] if len(served) == 1 else {}
    mine: Mapping[str, Any] = next((each for each in served if each.get("id") == model), only)
    meta = _object(mine.get("meta"))  # llama.cpp only
    props = _object(_json(await wire.get(f"{_OUTSIDE_V1}/props")))
    return ModelFacts(
        context=tokens(mine.get("max_model_len")) or tokens(meta.get("n_ctx")),
        trained=tokens(meta.get("n_ctx_train")),
        slots=tokens(props.get("total_slots")),
    )


def _json(answer: Answer) -> Any:
    return answer.json if answer.status == 200 else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
