"""All models of all endpoints, examined one after the other; what was loaded before is loaded again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from filelock import Timeout

from orchestrator.app.casting import Casting
from orchestrator.app.clock import SystemClock
from orchestrator.app.exam import sizes
from orchestrator.app.exam.examiner import Examiner
from orchestrator.app.exam.subject import Subject
from orchestrator.app.findings import Finding, bad, note
from orchestrator.app.lanes import open_endpoint
from orchestrator.app.rendering import Rendered
from orchestrator.app.working import turns_in_flight
from orchestrator.backends.facts import OverWire, contexts, facts_of
from orchestrator.cast import Debate
from orchestrator.config import Config
from orchestrator.errors import BusyError, EndpointError
from orchestrator.ports import Endpoint
from orchestrator.scheduler.liveness import dry_lock, speaking

WITHIN_S = 600.0
_CALL_S = 120.0
_AFTERWARDS_S = 120.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamRequest:
    """What `doctor --models` was asked for: seconds it may take, loads included, and who hears what is asked next."""

    within_s: float = WITHIN_S
    tell: Tell = lambda _what: None


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Keep runs that change what is loaded from beginning while the body runs.

    Raises:
        BusyError: a run or a dry run is speaking: an exam would take its models away, and measure its load.
    """
    advice = "an exam would take its models away: wait until it has ended, or leave out --models"
    with ExitStack() as held:
        if database.parent.is_dir():
            try:
                held.enter_context(dry_lock(database).acquire(blocking=False))
            except Timeout as error:
                raise BusyError(f"a dry run, or another doctor, calls models now, and {advice}") from error
            if speaking(database):
                raise BusyError(f"a run is speaking on this database, and {advice}")
        yield


def subjects(config: Config, casting: Casting, debates: Sequence[Debate], prompts: Sequence[Rendered]) -> list[Subject]:
    """Who is to be examined on an endpoint."""
    found = []
    for model, first in casting.models.items():
        wanted = [actor.sampling for debate in debates for actor in debate.actors if actor.model == model]
        sampling = replace(
            first,
            context=max((each.context for each in wanted), default=first.context),
            reply_limit=max((each.reply_limit for each in wanted), default=first.reply_limit),
            timeout_s=min(first.timeout_s, _CALL_S),
        )
        found.append(
            Subject(
                endpoint=casting.name,
                settings=casting.settings,
                model=model,
                sampling=sampling,
                prompts=tuple(prompt for prompt in prompts if prompt.model == model),
                wanted_slots=turns_in_flight(config.settings, casting)[1],
            )
        )
    return found


class _Examined(Endpoint, OverWire, Protocol):
    """An endpoint that can be examined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One endpoint, and who is to be examined there."""

    casting: Casting
    subjects: Sequence[Subject]

    @property
    def together(self) -> bool:
        """Whether it may hold all of its models at once."""
        settings = self.casting.settings
        most = settings.holds_at_once()
        return not settings.holds_gib if most is None else most >= len(self.casting.models)


async def look_at_contexts(endpoint: Endpoint, bench: Bench) -> list[Finding]:
    """The contexts of models that nobody has to load or call to learn of them. Raises EndpointError."""
    if not isinstance(endpoint, OverWire) or bench.casting.settings.backend == "llamacpp":
        return []
    served = bench.casting.settings.backend == "vllm"
    return [
        sizes.context(
            subject,
            await facts_of(endpoint.wire_to(subject.model), subject.backend, subject.model),
            loaded=served,
        )
        for subject in bench.subjects
    ]


async def examine_models(config: Config, benches: Sequence[Bench], request: ExamRequest) -> list[Finding]:
    """Findings about every model, endpoint by endpoint."""
    found: list[Finding] = []
    deadline = asyncio.get_running_loop().time() + request.within_s
    for bench in benches:
        endpoint = open_endpoint(config, bench.casting)
        try:
            if isinstance(endpoint, OverWire) and bench.subjects:
                await _endpoint(endpoint, bench, request, deadline, found.append)
        except EndpointError as error:
            found.append(bad(f"endpoint {endpoint.name}", f"its models could not be examined: {error}"))
        finally:
            await endpoint.close()
    return found


async def _endpoint(
    endpoint: _Examined, bench: Bench, request: ExamRequest, deadline: float, found: Callable[[Finding], None]
) -> None:
    before = await _loaded(endpoint, bench)
    try:
        async with asyncio.timeout_at(deadline):
            for subject in sorted(bench.subjects, key=lambda subject: _bare(subject.model) not in before):
                await _one(endpoint, bench, subject, request, found)
    except TimeoutError:
        text = f"time was up after {request.within_s:g} s, and not all of its models were examined: give --within more"
        found(note(f"endpoint {endpoint.name}", text))
    try:
        async with asyncio.timeout(_AFTERWARDS_S):
            await _as_before(endpoint, bench, before)
    except (EndpointError, TimeoutError) as error:
        text = f"what was loaded before the exam could not be loaded again: {error or 'it took too long'}"
        found(note(f"endpoint {endpoint.name}", text))


async def _one(
    endpoint: _Examined, bench: Bench, subject: Subject, request: ExamRequest, found: Callable[[Finding], None]
) -> None:
    name = f"{subject.model} on {subject.endpoint}"
    request.tell(f"{name}: loading")
    try:
        if not bench.together:
            # Drained, unloaded, then loaded: two models in flight on a server with room for one can hang it.
            there = await endpoint.loaded()
            for other in bench.casting.models:
                if other != subject.model and other in there:
                    await endpoint.unload(other)
        await endpoint.load(subject.model, subject.sampling)
        wire = endpoint.wire_to(subject.model)
        tell = request.tell
        await Examiner(subject, endpoint, wire, SystemClock(), lambda what: tell(f"{name}: {what}"), found).examine()
    except EndpointError as error:
        found(subject.bad("answers", f"it cannot be examined: {error}"))


async def _loaded(endpoint: _Examined, bench: Bench) -> dict[str, int | None]:
    """What a server of its own has loaded, and with which context; only an Ollama's loaded models change."""
    if bench.casting.settings.backend != "ollama":
        return {}
    return {_bare(name): context for name, context in (await contexts(endpoint.wire_to(""))).items()}


async def _as_before(endpoint: _Examined, bench: Bench, before: Mapping[str, int | None]) -> None:
    """Unload what was not loaded before, and load what was. Never more models at once than before."""
    now = await _loaded(endpoint, bench)
    for model in bench.casting.models:
        if _bare(model) in now.keys() - before.keys():
            await endpoint.unload(model)
    sampling = bench.subjects[0].sampling
    for model in sorted(before.keys() - now.keys()):
        await endpoint.load(model, replace(sampling, context=before[model] or sampling.context))


def _bare(model: str) -> str:
    """A name without the tag that it has anyway."""
    return model.removesuffix(":latest")
