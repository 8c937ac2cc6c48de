"""Looks at everything a run needs, and says what to do about what does not work."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from orchestrator import __version__
from orchestrator.app.casting import Casting, cast_models
from orchestrator.app.exam.models import Bench, ExamRequest, alone, examine_models, look_at_contexts, subjects
from orchestrator.app.findings import Finding, Health, bad, good, note
from orchestrator.app.lanes import open_endpoint, preflight
from orchestrator.app.rendering import Rendered, look_at_prompts
from orchestrator.app.weights import shared_weights
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.assets import migrations
from orchestrator.cast import Debate
from orchestrator.errors import CastError, EndpointError, OrchestrateError
from orchestrator.ports import Sampling

_GPU = ("nvidia-smi", "--query-gpu=name,memory.total,memory.used,driver_version", "--format=csv,noheader")
_ENOUGH_GIB = 1.0


def examine(
    home: Path, database: Path | None, only: str | None = None, exam: ExamRequest | None = None
) -> list[Finding]:
    """All findings, in the order in which to mend them; with `only`, of one debate. No model is called without `exam`.

    Never raises what a finding can say.

    Raises:
        BusyError: with `exam`, if a run or a dry run is speaking on this database.
    """
    findings = [good("program", f"orchestrate {__version__}, Python {platform.python_version()}, {sys.platform}")]
    try:
        workplace = open_workplace(home, {"database": database})
    except OrchestrateError as error:
        return [*findings, bad("settings", str(error))]
    file = workplace.config.home / "orchestrate.toml"
    findings.append(
        good("settings", f"{file}" if file.exists() else "none here, so the defaults; orchestrate init writes them")
    )
    with nullcontext() if exam is None else alone(workplace.config.database):
        findings += _database(workplace)
        names = [only] if only else workplace.names()
        debates, prompts, said = _debates(workplace, names)
        findings += said
        findings += asyncio.run(_endpoints(workplace, debates, len(names), prompts, exam))
    findings.append(_gpu())
    return findings


def _debates(workplace: Workplace, names: Sequence[str]) -> tuple[list[Debate], list[Rendered], list[Finding]]:
    """The debates that can be read, their prompts for a record each, and what there is to say about both."""
    debates: list[Debate] = []
    prompts: list[Rendered] = []
    findings: list[Finding] = []
    for name in names:
        try:
            debate = workplace.debate(name)
        except CastError as error:
            findings.append(bad(f"debate {name}", str(error)))
            continue
        findings.append(good(f"debate {name}", f"digest {debate.digest}, {_cast(debate)}"))
        rendered, said = look_at_prompts(workplace, debate)
        debates.append(debate)
        prompts += rendered
        findings += said
    return debates, prompts, findings


def _cast(debate: Debate) -> str:
    return ", ".join(f"{actor.role.value} {actor.model}" for actor in debate.actors)


def _database(workplace: Workplace) -> Iterator[Finding]:
    from orchestrator.store import schema

    path = workplace.config.database
    free = shutil.disk_usage(path.parent).free / 2**30 if path.parent.is_dir() else 0.0
    if not path.exists():
        writable = os.access(path.parent, os.W_OK)
        text = f"{path} is made by the first submit"
        yield good("database", text) if writable else bad("database", f"{path.parent} cannot be written to")
    else:
        try:
            state = schema.check(path, migrations())
            problems = schema.problems(path)
        except OrchestrateError as error:
            yield bad("database", str(error))
            return
        if not state.ok:
            yield bad("database", f"{path} has schema {state.current}, not {state.head}: orchestrate db upgrade")
        for problem in problems:
            yield bad("database", f"{path}: {problem}: restore a copy")
        if state.ok and not problems:
            yield good("database", f"{path}, schema {state.current}, {path.stat().st_size / 2**20:.1f} MiB")
    if free < _ENOUGH_GIB:
        yield note("disk", f"{free:.1f} GiB free at {path.parent}")


async def _endpoints(
    workplace: Workplace, debates: Sequence[Debate], asked: int, prompts: Sequence[Rendered], exam: ExamRequest | None
) -> list[Finding]:
    config = workplace.config
    castings, findings = _castings(workplace, debates)
    all_cast = len(debates) == asked and not findings
    benches = []
    for casting in castings:
        bench = Bench(casting=casting, subjects=subjects(config, casting, debates, prompts))
        said = await _endpoint(workplace, bench, contexts=exam is None, all_cast=all_cast)
        findings += said
        findings += await _weights(workplace, casting)
        if said[0].health is not Health.BAD:
            benches.append(bench)
    if exam is not None:
        findings += await examine_models(config, benches, exam)
    return findings


def _castings(workplace: Workplace, debates: Sequence[Debate]) -> tuple[list[Casting], list[Finding]]:
    """Every endpoint, with the models that any of the debates wants of it; and which debates cannot be cast."""
    wanted: dict[str, dict[str, Sampling]] = {name: {} for name in workplace.config.settings.endpoints}
    findings = []
    for debate in debates:
        try:
            for casting in cast_models(workplace.config, [debate]):
                wanted[casting.name] |= casting.models
        except OrchestrateError as error:
            findings.append(bad(f"debate {debate.name}", str(error)))
    endpoints = workplace.config.settings.endpoints
    return [Casting(name=name, settings=endpoints[name], models=models) for name, models in wanted.items()], findings


async def _endpoint(workplace: Workplace, bench: Bench, *, contexts: bool, all_cast: bool) -> list[Finding]:
    casting = bench.casting
    about = f"endpoint {casting.name}"
    endpoint = open_endpoint(workplace.config, casting)
    try:
        await preflight(endpoint, casting.models)
        there = await endpoint.available()
        loaded = await endpoint.loaded()
        more = await look_at_contexts(endpoint, bench) if contexts else []
    except (EndpointError, OrchestrateError) as error:
        return [bad(about, str(error))]
    finally:
        await endpoint.close()
    parts = [casting.settings.backend, casting.settings.url]
    parts.append(f"serves {', '.join(sorted(there))}" if there else "no model, only cues from the prompt")
    parts += [f"loaded: {', '.join(sorted(loaded))}"] if loaded else []
    if not casting.models and all_cast:
        return [note(about, ", ".join(filter(None, [*parts, "no card wants a model of it"])))]
    return [good(about, ", ".join(filter(None, parts))), *more]


async def _weights(workplace: Workplace, casting: Casting) -> list[Finding]:
    endpoint = open_endpoint(workplace.config, casting)
    try:
        warnings = await shared_weights(endpoint, casting.models)
    finally:
        await endpoint.close()
    return [note(f"endpoint {casting.name}", text) for text in warnings]


def _gpu() -> Finding:
    if shutil.which(_GPU[0]) is None:
        return note("GPU", "no NVIDIA GPU is seen from here; the servers may have one elsewhere")
    try:
        seen = subprocess.run(_GPU, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 -- fixed words
    except (subprocess.SubprocessError, OSError) as error:
        return note("GPU", f"nvidia-smi does not work: {error}")
    return good("GPU", "; ".join(seen.stdout.strip().splitlines()))
