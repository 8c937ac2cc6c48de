"""Looks at everything a run needs, and says what to do about what does not work."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator import __version__
from orchestrator.app.casting import Casting, cast_models
from orchestrator.app.lanes import open_endpoint, preflight
from orchestrator.app.weights import shared_weights
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.assets import migrations
from orchestrator.cast import Debate
from orchestrator.errors import CastError, EndpointError, OrchestrateError

_GPU = ("nvidia-smi", "--query-gpu=name,memory.total,memory.used,driver_version", "--format=csv,noheader")
_ENOUGH_GIB = 1.0


class Health(StrEnum):
    """How a finding stands."""

    GOOD = "good"
    NOTE = "note"  # works, but worth knowing
    BAD = "bad"  # a run would fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    about: str
    health: Health
    text: str


def examine(home: Path, database: Path | None) -> list[Finding]:
    """All findings, in the order in which to mend them. Never raises what a finding can say."""
    findings = [_good("program", f"orchestrate {__version__}, Python {platform.python_version()}, {sys.platform}")]
    try:
        workplace = open_workplace(home, {"database": database})
    except OrchestrateError as error:
        return [*findings, _bad("settings", str(error))]
    file = workplace.config.home / "orchestrate.toml"
    findings.append(
        _good("settings", f"{file}" if file.exists() else "none here, so the defaults; orchestrate init writes them")
    )
    findings += _database(workplace)
    debates = []
    for name in workplace.names():
        try:
            debates.append(workplace.debate(name))
            findings.append(_good(f"debate {name}", f"digest {debates[-1].digest}, {_cast(debates[-1])}"))
        except CastError as error:
            findings.append(_bad(f"debate {name}", str(error)))
    findings += asyncio.run(_endpoints(workplace, debates))
    findings.append(_gpu())
    return findings


def _good(about: str, text: str) -> Finding:
    return Finding(about=about, health=Health.GOOD, text=text)


def _bad(about: str, text: str) -> Finding:
    return Finding(about=about, health=Health.BAD, text=text)


def _cast(debate: Debate) -> str:
    return ", ".join(f"{actor.role.value} {actor.model}" for actor in debate.actors)


def _database(workplace: Workplace) -> Iterator[Finding]:
    from orchestrator.store import schema

    path = workplace.config.database
    free = shutil.disk_usage(path.parent).free / 2**30 if path.parent.is_dir() else 0.0
    if not path.exists():
        writable = os.access(path.parent, os.W_OK)
        text = f"{path} is made by the first submit"
        yield _good("database", text) if writable else _bad("database", f"{path.parent} cannot be written to")
    else:
        try:
            state = schema.check(path, migrations())
            problems = schema.problems(path)
        except OrchestrateError as error:
            yield _bad("database", str(error))
            return
        if not state.ok:
            yield _bad("database", f"{path} has schema {state.current}, not {state.head}: orchestrate db upgrade")
        for problem in problems:
            yield _bad("database", f"{path}: {problem}: restore a copy")
        if state.ok and not problems:
            yield _good("database", f"{path}, schema {state.current}, {path.stat().st_size / 2**20:.1f} MiB")
    if free < _ENOUGH_GIB:
        yield Finding(about="disk", health=Health.NOTE, text=f"{free:.1f} GiB free at {path.parent}")


async def _endpoints(workplace: Workplace, debates: list[Debate]) -> list[Finding]:
    findings = []
    castings: dict[str, Casting] = {}
    for debate in debates:
        try:
            castings |= {casting.name: casting for casting in cast_models(workplace.config, [debate])}
        except OrchestrateError as error:
            findings.append(_bad(f"debate {debate.name}", str(error)))
    for name, settings in workplace.config.settings.endpoints.items():
        casting = castings.get(name, Casting(name=name, settings=settings, models={}))
        findings.append(await _endpoint(workplace, casting))
        findings += await _weights(workplace, casting)
    return findings


async def _endpoint(workplace: Workplace, casting: Casting) -> Finding:
    about = f"endpoint {casting.name}"
    endpoint = open_endpoint(workplace.config, casting)
    try:
        await preflight(endpoint, casting.models)
        there = await endpoint.available()
        loaded = await endpoint.loaded()
    except (EndpointError, OrchestrateError) as error:
        return _bad(about, str(error))
    finally:
        await endpoint.close()
    parts = [casting.settings.backend, casting.settings.url]
    parts.append(f"serves {', '.join(sorted(there))}" if there else "no model, only cues from the prompt")
    parts += [f"loaded: {', '.join(sorted(loaded))}"] if loaded else []
    if not casting.models:
        return Finding(
            about=about, health=Health.NOTE, text=", ".join(filter(None, [*parts, "no card wants a model of it"]))
        )
    return _good(about, ", ".join(filter(None, parts)))


async def _weights(workplace: Workplace, casting: Casting) -> list[Finding]:
    endpoint = open_endpoint(workplace.config, casting)
    try:
        warnings = await shared_weights(endpoint, casting.models)
    finally:
        await endpoint.close()
    return [Finding(about=f"endpoint {casting.name}", health=Health.NOTE, text=text) for text in warnings]


def _gpu() -> Finding:
    if shutil.which(_GPU[0]) is None:
        return Finding(
            about="GPU", health=Health.NOTE, text="no NVIDIA GPU is seen from here; the servers may have one elsewhere"
        )
    try:
        seen = subprocess.run(_GPU, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 -- fixed words
    except (subprocess.SubprocessError, OSError) as error:
        return Finding(about="GPU", health=Health.NOTE, text=f"nvidia-smi does not work: {error}")
    return _good("GPU", "; ".join(seen.stdout.strip().splitlines()))
