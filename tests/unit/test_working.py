"""How an endpoint is to be worked follows from its settings, its models and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.app.casting import Casting
from orchestrator.app.choosing import Choice, Seen
from orchestrator.app.working import Working, longest, orders, room_of, turns_in_flight, wave_of
from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, Protocol, read_debate
from orchestrator.config import EndpointSettings, Settings
from orchestrator.debate.order import steps
from orchestrator.domain import Digest, Role, RunId, Waiting
from orchestrator.errors import ConfigError
from orchestrator.measures import LoadRate, ModelFile, TurnRate
from orchestrator.ports import Sampling
from orchestrator.scheduler.fewest import Room
from orchestrator.scheduler.forecast import Charge, Costs
from orchestrator.store.reading_rows import MeasuredLoads, MeasuredTurns

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SAMPLING = Sampling(temperature=0.3, seed=1, context=8192, reply_limit=700, timeout_s=180)
FILES = {"a": ModelFile(gib=4.5), "b": ModelFile(gib=5.5), "c": ModelFile()}
NEEDED: dict[str, dict[str, Any]] = {
    "ollama": {"url": "http://h"},
    "vllm": {"url": "http://h"},
    "llamacpp": {"gguf": {"a": "a.gguf"}},
    "rehearsal": {},
}


def casting(models: str = "ab", backend: str = "ollama", **values: Any) -> Casting:
    settings = EndpointSettings.model_validate({"backend": backend} | NEEDED[backend] | values)
    return Casting(name="gpu", settings=settings, models=dict.fromkeys(models, SAMPLING))


def debate(models: str = "aba", rounds: int = 1) -> Debate:
    """The shipped one with these models, by role."""
    here = read_debate("candidate", Folders(shipped()))
    actors = tuple(replace(actor, model=models[list(Role).index(actor.role)]) for actor in here.actors)
    digest = Digest(f"{models}{rounds}")
    return replace(here, actors=actors, digest=digest, protocol=Protocol(rounds=rounds, early_end=True))


def known(*, load_s: float = 10, turn_s: float = 2) -> Costs:
    charge = Charge(seconds=turn_s, deviation=1, turns=100, spread=0.05, work=40)
    return Costs(
        charges={(model, role): charge for model in "abc" for role in Role},
        loads={"a": load_s, "b": load_s},
        in_flight=4,
    )


@pytest.mark.parametrize(
    ("casting", "room"),
    [
        (casting("a"), None),
        (casting("ab"), Room(models=1)),
        (casting("ab", holds=2), None),
        (casting("abc", holds=2), Room(models=2)),
        (casting("abc", "vllm"), None),
        (casting("abc", "rehearsal"), None),
        (casting("ab", "rehearsal", holds=1), Room(models=1)),
        (casting("ab", "llamacpp"), Room(models=1)),
        (casting("ab", holds_gib=10), None),
        (casting("ab", holds_gib=9.9), Room(gib=9.9, sizes=(("a", 4.5), ("b", 5.5)))),
        (casting("ab", holds_gib=10, holds=1), Room(models=1, gib=10, sizes=(("a", 4.5), ("b", 5.5)))),
        (casting("b", holds_gib=2), None),
    ],
)
def test_room_is_what_it_holds(casting: Casting, room: Room | None) -> None:
    assert room_of(casting, FILES) == room


@pytest.mark.parametrize("models", ["ac", "ad"])
def test_unknown_size_is_said_beforehand(models: str) -> None:
    with pytest.raises(ConfigError, match=rf"endpoints\.gpu\.holds_gib: .* how large '{models[1]}' is: set `holds`"):
        room_of(casting(models, holds_gib=8), FILES)

    assert room_of(casting(models), {}) == Room(models=1)


@pytest.mark.parametrize(
    ("general", "casting", "expected"),
    [
        ("auto", casting(), (None, None)),
        ("auto", casting(slots=4), (None, 4)),
        ("auto", casting("a", "vllm", slots=256), (None, 256)),
        ("auto", casting("a", "rehearsal"), (None, 4)),
        ("auto", casting("a", "llamacpp"), (None, 1)),
        (8, casting(), (8, None)),
        (8, casting(weight=0.5), (4, None)),
        (8, casting(weight=0.01), (1, None)),
        (8, casting(max_workers=6, weight=0.5), (6, None)),
        (8, casting(max_workers="auto"), (None, None)),
        ("auto", casting(max_workers=6), (6, None)),
        (8, casting("a", "llamacpp"), (8, 8)),
        (8, casting("a", "llamacpp", slots=2), (8, 2)),
        (8, casting("a", "rehearsal"), (8, 4)),
    ],
)
def test_turns_in_flight_follow_settings(
    general: int | str, casting: Casting, expected: tuple[int | None, int | None]
) -> None:
    assert turns_in_flight(Settings.model_validate({"max_workers": general}), casting) == expected


@pytest.mark.parametrize(
    ("casting", "room", "workers", "slots", "in_flight"),
    [
        (casting(), Room(models=1), 8, 4, 8),
        (casting(), Room(models=1), None, 4, 4),
        (casting(), None, None, 4, 8),
        (casting(), None, None, None, None),
        (casting("a", "vllm"), None, None, 256, None),
    ],
)
def test_in_flight_is_known_beforehand(
    casting: Casting, room: Room | None, workers: int | None, slots: int | None, in_flight: int | None
) -> None:
    working = Working(
        casting=casting, room=room, workers=workers, slots=slots, first=None, order="depth", wave_size=None, why=""
    )

    assert working.in_flight == in_flight


@pytest.mark.parametrize(("weight", "size"), [(1, 50), (2, 100), (0.5, 25), (0.001, 1)])
def test_wave_that_was_asked_for_holds(weight: float, size: int) -> None:
    settings = Settings(wave_size=50)

    assert wave_of(settings, casting(weight=weight), [debate()], Room(models=1), known(), 4) == size


@pytest.mark.parametrize(
    ("models", "room", "size"),
    [
        ("aba", Room(models=1), 334),  # two loads of 10 s a wave, 6 s of work a task
        ("abc", Room(models=1), 500),
        ("aba", Room(models=2), 167),
        ("abc", None, 167),
        ("aaa", Room(models=1), 167),
    ],
)
def test_wave_pays_for_its_loads(models: str, room: Room | None, size: int) -> None:
    assert wave_of(Settings(), casting("abc"), [debate(models)], room, known(), 4) == size


def test_wave_is_weighed_and_bounded() -> None:
    def size(slots: int, costs: Costs | None, weight: float = 1) -> int:
        return wave_of(Settings(), casting(weight=weight), [debate()], Room(models=1), costs, slots)

    assert size(4, None) == 64
    assert size(4, None, weight=0.5) == 32
    assert size(64, known()) == 1024
    assert size(64, known(), weight=2) == 2048
    assert size(1, known(load_s=0)) == 16


def test_longest_chain_counts_own_steps() -> None:
    debates = [debate("abc", rounds=3), debate("cca", rounds=4), debate("bca")]

    assert [step.model for step in longest(debates, casting("ab"))] == ["a", "b"] * 3
    assert longest(debates, casting("d")) == []


def test_orders_go_by_digest() -> None:
    one, other = debate("aba"), debate("abc", rounds=2)

    assert orders([one, other]) == {one.digest: steps(one), other.digest: steps(other)}


def seen(
    here: Casting,
    *,
    turn_s: Sequence[float] = (),
    load_s: float | None = None,
    options: str = "context=8192",
    **more: Any,
) -> Seen:
    """An endpoint on which each run has measured its own seconds a turn, the newest run first."""
    turns = [measured(run, model, seconds, options) for run, seconds in enumerate(turn_s) for model in here.models]
    loads = [
        MeasuredLoads(
            rate=LoadRate(endpoint="gpu", model=model, model_digest="", loads=2, seconds=2 * load_s),
            run_id=None,
            at=NOON,
        )
        for model in here.models
        if load_s is not None
    ]
    return Seen(
        settings=Settings.model_validate(more.pop("settings", {})),
        casting=here,
        debates=[debate()],
        files={},
        loaded=frozenset(),
        turns=[turn for role_turns in turns for turn in role_turns],
        loads=loads,
    )


def measured(run: int, model: str, seconds: float, options: str) -> list[MeasuredTurns]:
    return [
        MeasuredTurns(
            rate=TurnRate(
                endpoint="gpu",
                model=model,
                model_digest=f"run{run}" if options == "moving" else "",
                options="context=8192" if options == "moving" else options,
                role=role,
                in_flight=4,
                turns=10,
                seconds=10 * seconds,
                squares=10 * seconds**2,
                prompt_tokens=0,
                cached_tokens=0,
                reply_tokens=400,
            ),
            run_id=RunId(run),
            at=NOON,
        )
        for role in Role
    ]


def choice(known: Seen, tasks: int = 1000) -> Choice:
    waiting = Waiting(
        digest=debate().digest,
        step=debate().first,
        fresh=True,
        priority=0,
        home="",
        ready=tasks,
        later=0,
        next_at=None,
    )
    return known.choose([waiting], {})


@pytest.mark.parametrize(
    ("asked", "holds", "order", "wave_size", "why"),
    [
        ("auto", 1, "waves", 64, "its 2 models do not fit together: waves"),
        ("auto", 2, "depth", None, "all of its models fit: depth first keeps each task's prompt cached"),
        ("waves", 2, "waves", 64, "waves were asked for"),
        ("depth", 2, "depth", None, "depth first was asked for"),
        ("depth", 1, "depth", 4, "depth first was asked for, as many at a time as are in flight"),
    ],
)
def test_order_is_chosen_with_reason(asked: str, holds: int, order: str, wave_size: int | None, why: str) -> None:
    working = choice(seen(casting(holds=holds, slots=4 // holds), settings={"order": asked})).working

    assert (working.order, working.wave_size, working.why) == (order, wave_size, why)


def test_known_costs_are_compared() -> None:
    found = choice(seen(casting(slots=4), turn_s=[2], load_s=10))

    assert found.working.wave_size == 334
    assert found.forecast is not None
    # 1,000 tasks of 6 s, in three waves.
    assert found.forecast.seconds == pytest.approx(6000 + (2 * 3 + 1) * 10)
    assert found.working.why == "its 2 models do not fit together: waves (6,070 s against 11,010 s)"


def test_turns_of_other_settings_tell_nothing() -> None:
    assert choice(seen(casting(slots=4), turn_s=[2], load_s=10, options="context=4096")).forecast is None
    assert choice(seen(casting(slots=4), turn_s=[2])).forecast is None


def test_only_newest_file_of_model_counts() -> None:
    known = seen(casting(slots=4), turn_s=[2, 9, 9], load_s=10, options="moving")

    assert {charge.seconds for charge in known.costs.charges.values()} == {2}
    assert known.speed == pytest.approx(1 / 6)


def test_speed_is_unknown_before_measuring() -> None:
    assert seen(casting(slots=4)).speed == 0
