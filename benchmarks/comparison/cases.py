"""What is measured: servers, casts, numbers of records, who takes part, and at what pace.

Pace and number are chosen so that the client's own time is lost in the simulated time, and the whole takes twenty
minutes on two cores. On an Ollama a turn takes seconds and the clock rests after each reply. On a vLLM replies come all
the time, so that a clock that rests would hardly go: there it never does, and is slow enough instead. What would take
hours, or speaks by a slow client, debates a part of the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.comparison.contenders import depth_first, langgraph, random_server, role_by_role, thread_pool
from benchmarks.comparison.measure import Case, Contender
from benchmarks.comparison.ours import Order, orchestrate
from benchmarks.comparison.servers import Pacing
from benchmarks.comparison.workload import ORDER, Layout

GROUPS = ("laptop", "rtx4080", "h100", "four_gpus")
# The case whose swaps are drawn; one after the other debates all of its records, to stand beside ours.
SWAPS = "laptop, 4 slots"
ALONE = "one after the other"
OURS = "orchestrate"
AUTO = 'orchestrate, order = "auto"'
WAVES = 'orchestrate, order = "waves"'
DEPTH = 'orchestrate, order = "depth"'
FOUR_SLOTS = "RTX 4080, three models, 4 slots (one fits)"
# A night of the people who wrote it by hand.
NIGHT, NIGHT_RECORDS = "laptop, 4 slots, a night", 1764
# Replies are up to a fifth shorter or longer, as real ones are: streams of one length would march in step.
JITTER = "jitter=0.2"
CACHES = (60_000, 100_000, 400_000)
LIMITS = (8, 16, 32, 48, 64, 80, 96, 128, 192, 256)

_A, _B, _C = "qwen2.5:7b", "gemma2:9b", "llama3.1:8b"
_PLAIN = "plain"
_STOCK = "stock LangChain"
_QUICK = Pacing(scale=0.005, grace_s=0.02)
_EXACT = Pacing(scale=0.01, grace_s=0.02)
_STOCK_PACE = Pacing(scale=0.005, grace_s=0.1)
# A turn of ours is committed before the next begins, and that waits for a real disk.
_DURABLE = Pacing(scale=0.3)


def cases(only: Sequence[str], quick: bool) -> list[Case]:
    """The cases of these groups."""
    made = [
        _ollama("laptop", "laptop, 1 slot", 1, (_A, _B, _A), quick),
        _ollama("laptop", SWAPS, 4, (_A, _B, _A), quick),
        _night(quick),
        _ollama("rtx4080", "RTX 4080, three models, 1 slot (two models fit)", 1, (_A, _B, _C), quick),
        _ollama("rtx4080", FOUR_SLOTS, 4, (_A, _B, _C), quick),
        *(_vllm(kv_tokens, quick) for kv_tokens in CACHES),
        _four_gpus(quick),
    ]
    return [case for case in made if case.group in only]


def _ollama(group: str, title: str, slots: int, models: tuple[str, str, str], quick: bool) -> Case:
    part = 0.5 if quick else 0.2
    contenders = [
        Contender(name=ALONE, client=_PLAIN, run=thread_pool(1), share=1.0 if title == SWAPS else part, pacing=_QUICK),
        Contender(name="4 threads", client=_PLAIN, run=thread_pool(4), share=part, pacing=_QUICK),
        Contender(name="asyncio, 4 debates", client=_PLAIN, run=depth_first(4), share=part, pacing=_QUICK),
        Contender(name="LangGraph abatch, 4", client=_STOCK, run=langgraph(4), share=part, pacing=_STOCK_PACE),
        Contender(
            name="role first, 4 debates",
            client=_PLAIN,
            run=depth_first(4, Layout.ROLE_FIRST),
            share=part,
            pacing=_QUICK,
        ),
        Contender(name="role by role", client=_PLAIN, run=role_by_role(slots), pacing=_QUICK),
        Contender(name=OURS, client=OURS, run=orchestrate(_EXACT)),
    ]
    if slots > 1:
        contenders += _orders(_EXACT, part)
    return Case(
        group=group,
        title=title,
        source=group,
        changes=(f"slots={slots}", JITTER),
        models=dict(zip(ORDER, models, strict=True)),
        records=24 if quick else 250,
        pacing=_EXACT,
        contenders=tuple(contenders),
    )


def _orders(pacing: Pacing, share: float) -> list[Contender]:
    """Ours in each order, over as many records."""
    orders: dict[str, Order] = {AUTO: "auto", WAVES: "waves", DEPTH: "depth"}
    return [
        Contender(name=name, client=OURS, run=orchestrate(pacing, order), share=share, pacing=pacing)
        for name, order in orders.items()
    ]


def _night(quick: bool) -> Case:
    case = _ollama("laptop", NIGHT, 4, (_A, _B, _A), quick)
    records = 4 * case.records if quick else NIGHT_RECORDS
    return replace(case, records=records, contenders=(Contender(name=OURS, client=OURS, run=orchestrate(_EXACT)),))


def _vllm(kv_tokens: int, quick: bool) -> Case:
    ours = Contender(name=OURS, client=OURS, run=orchestrate(_DURABLE), pacing=_DURABLE)
    everybody = (
        Contender(name=ALONE, client=_PLAIN, run=thread_pool(1), share=0.02, pacing=_QUICK),
        Contender(name="4 threads", client=_PLAIN, run=thread_pool(4), share=0.04, pacing=_QUICK),
        Contender(name="asyncio, 64 debates", client=_PLAIN, run=depth_first(64)),
        Contender(name="asyncio, 256 debates", client=_PLAIN, run=depth_first(256), share=0.5),
        Contender(name="LangGraph abatch, 64", client=_STOCK, run=langgraph(64), share=0.25, pacing=_DURABLE),
        Contender(name="role by role, 256", client=_PLAIN, run=role_by_role(256), share=0.5),
        Contender(name="role first, 64 debates", client=_PLAIN, run=depth_first(64, Layout.ROLE_FIRST), share=0.5),
        ours,
        *_orders(_DURABLE, 0.25),
    )
    return Case(
        group="h100",
        title=f"H100, vLLM, a cache of {kv_tokens:,} tokens",
        source="h100",
        changes=(f"kv_tokens={kv_tokens}", JITTER),
        models=dict.fromkeys(ORDER, _C),
        records=200 if quick else 2000,
        pacing=Pacing(scale=0.1),
        contenders=everybody if kv_tokens == CACHES[1] else (replace(ours, share=0.5),),
    )


def _four_gpus(quick: bool) -> Case:
    # Four servers answer four times as often.
    slow = Pacing(scale=0.8)
    return Case(
        group="four_gpus",
        title="four H100, a vLLM on each",
        source="four_gpus",
        changes=(JITTER,),
        models=dict.fromkeys(ORDER, _C),
        records=400 if quick else 2000,
        pacing=Pacing(scale=0.3),
        contenders=(
            Contender(name=ALONE, client=_PLAIN, run=thread_pool(1), share=0.02, pacing=_QUICK),
            Contender(name="each turn to a random server, 256", client=_PLAIN, run=random_server(256), share=0.5),
            Contender(name="each debate to one server in turn, 256", client=_PLAIN, run=depth_first(256)),
            Contender(name=OURS, client=OURS, run=orchestrate(slow), pacing=slow),
        ),
    )
