"""Two names of one file of weights: a server that keeps models by their files loads it again at each change of name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.errors import EndpointError
from orchestrator.ports import Endpoint


async def shared_weights(endpoint: Endpoint, models: Collection[str]) -> list[str]:
    """A warning for each file that several of these models are names of; none where the endpoint does not tell."""
    if len(models) < 2:
        return []
    try:
        told = await endpoint.weights(models)
    except EndpointError:
        return []  # whether it works is for others to find out
    return [
        f"{' and '.join(names)} are names of one file of weights on endpoint {endpoint.name!r}: each change from one "
        "to the other loads it again; let the cards name one of them"
        for names in same_file(told)
    ]


def same_file(told: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The models that share a file, in order of their names; `told` is the file of each, "" where it is not known."""
    names: dict[str, list[str]] = {}
    for model, file in sorted(told.items()):
        if file:
            names.setdefault(file, []).append(model)
    return [tuple(shared) for shared in names.values() if len(shared) > 1]
