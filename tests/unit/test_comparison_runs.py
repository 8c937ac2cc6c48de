"""Every contender of the comparison finishes its debates, turn for turn, and none beats the bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.comparison.cases import ALONE, OURS, cases
from benchmarks.comparison.contenders import (
    Outcome,
    Scene,
    depth_first,
    langgraph,
    random_server,
    role_by_role,
    thread_pool,
)
from benchmarks.comparison.measure import Case, Contender, Row, measure, transcript
from benchmarks.comparison.ours import orchestrate
from benchmarks.comparison.servers import Pacing
from benchmarks.comparison.tables import contenders
from benchmarks.comparison.workload import ORDER, Layout

RECORDS = 6
FAST = Pacing(scale=0.001, grace_s=0.001, lifetime_s=60.0)
CASTS = {
    "laptop": ("qwen2.5:7b", "gemma2:9b", "qwen2.5:7b"),
    "h100": ("llama3.1:8b",) * 3,
    "four_gpus": ("llama3.1:8b",) * 3,
}
CONTENDERS = {
    "one after the other": thread_pool(1),
    "4 threads": thread_pool(4),
    "asyncio": depth_first(4),
    "role first": depth_first(4, Layout.ROLE_FIRST),
    "role by role": role_by_role(4),
    "LangGraph": langgraph(4),
    "random": random_server(4),
    "ours": orchestrate(FAST),
}


def case(source: str, *changes: str) -> Case:
    return Case(
        group=source,
        title=source,
        source=source,
        changes=(*changes, "jitter=0.2"),
        models=dict(zip(ORDER, CASTS[source], strict=True)),
        records=RECORDS,
        pacing=FAST,
    )


def contended(source: str, run: Callable[[Scene], Outcome], *changes: str) -> Row:
    return measure(case(source, *changes), Contender(name="it", client="", run=run))


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "random"])
@pytest.mark.parametrize("source", ["laptop", "h100"])
def test_contender_speaks_every_turn_once(source: str, name: str) -> None:
    row = contended(source, CONTENDERS[name], "slots=4")

    assert (row.outcome.done, row.counted.replies) == (RECORDS, 3 * RECORDS)
    assert row.to_bound >= 1.0


@pytest.mark.parametrize("name", ["random", "asyncio", "ours"])
def test_four_servers_share_the_debates(name: str) -> None:
    row = contended("four_gpus", CONTENDERS[name])

    assert (row.outcome.done, row.counted.replies) == (RECORDS, 3 * RECORDS)
    assert row.to_bound >= 1.0


def test_server_counts_what_was_foreseen() -> None:
    wanted = case("laptop")

    row = measure(wanted, Contender(name="it", client="", run=thread_pool(1)))
    calls = [asked for debate in transcript(wanted, RECORDS) for asked in debate]

    assert row.counted.prompt_tokens == sum(asked.prompt.tokens for asked in calls)
    assert row.counted.reply_tokens == sum(asked.reply_tokens for asked in calls)


def test_ours_tells_of_its_first_verdict_and_loads() -> None:
    row = contended("laptop", CONTENDERS["ours"])

    assert row.counted.loads == row.bound_loads == 3
    assert row.outcome.first_s is not None
    assert 0 < row.outcome.first_s <= row.measured_s


def test_unfinished_debates_are_an_error() -> None:
    def gives_up(scene: Scene) -> Outcome:
        done = thread_pool(1)(replace(scene, records=scene.records[:-1])).done
        return Outcome(done=done)

    with pytest.raises(RuntimeError, match="5 of 6 debates"):
        contended("h100", gives_up)


def test_part_of_the_records_is_made_up_for() -> None:
    wanted = case("laptop")

    half = measure(wanted, Contender(name=ALONE, client="", run=thread_pool(1), share=0.5))
    table = contenders([half, replace(half, contender=OURS)])

    assert half.done == 3
    assert half.makespan_s == pytest.approx(2 * half.measured_s)
    assert f"| {ALONE} (3 records) | {half.makespan_s:,.0f} | 1.00 |" in table


def test_every_case_has_us_and_a_profile() -> None:
    found = cases(["laptop", "rtx4080", "h100", "four_gpus"], quick=True)

    assert all(any(contender.name == OURS for contender in each.contenders) for each in found)
    assert {each.profile.kind for each in found} == {"ollama", "vllm"}
