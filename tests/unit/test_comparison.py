"""The comparison's own sums: the bound by hand, the sweep above it, the page and the pictures' spans."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.comparison.bound import bound, convex_below, least_loads, resident_at_once
from benchmarks.comparison.direct import closed_loop
from benchmarks.comparison.measure import Case, bound_of, transcript
from benchmarks.comparison.page import BEGINS, ENDS, with_part, write
from benchmarks.comparison.pictures import Span, spans
from benchmarks.comparison.servers import Pacing
from benchmarks.comparison.workload import ORDER, Asked
from benchmarks.model_server import Profile, load_profile
from benchmarks.model_server.prompts import Prompt

MODELS = (
    {"name": "a", "size_gib": 5.0, "prefill": 100, "decode": 10},
    {"name": "b", "size_gib": 5.0, "prefill": 50, "decode": 5},
)


def ollama(vram_gib: float = 10.0) -> Profile:
    """Two models, room for one; 2 s to load, 1 s to leave."""
    return Profile.model_validate(
        {
            "kind": "ollama",
            "gpu": {"vram_gib": vram_gib, "batching": [[1, 1.0], [2, 1.5]]},
            "ollama": {"slots": 1, "swap_s": 3.0, "unload_s": 1.0},
            "models": MODELS,
        }
    )


def vllm(kv_tokens: int = 100_000, replicas: int = 1) -> Profile:
    """One model; four streams go four times as fast as one."""
    return Profile.model_validate(
        {
            "kind": "vllm",
            "replicas": replicas,
            "gpu": {"batching": [[1, 1.0], [4, 4.0]]},
            "vllm": {"kv_tokens": kv_tokens},
            "models": MODELS[:1],
        }
    )


def debate(number: int, *models: str) -> list[Asked]:
    """Prompts of 60, 70 and 80 tokens, each the beginning of the next; all debates share 40."""
    text = "s" * 160 + str(number) * 80
    replies = (10, 5, 10)
    calls = []
    for model, tokens, reply, added in zip(models, (60, 70, 80), replies, ("", "c" * 40, "j" * 40), strict=True):
        text += added
        calls.append(Asked(model=model, prompt=Prompt(text=text, tokens=tokens), reply_tokens=reply))
    return calls


def test_bound_with_swaps_by_hand() -> None:
    least = bound(ollama(), [debate(number, "a", "b", "a") for number in (1, 2)])

    # Three loads of 2 s, two models that leave in 1 s.
    assert (least.loads, least.loading_s) == (3, 8.0)
    # a reads the stem twice and 20 and 40 tokens for each debate, b the stem once and 30 for each.
    assert least.reading_s == pytest.approx((2 * 40 + 2 * 60) / 100 + (40 + 2 * 30) / 50)
    assert least.writing_s == pytest.approx(2 * 20 / 10 + 2 * 5 / 5)
    assert least.seconds == pytest.approx(18.0)
    assert least.longest_s == pytest.approx(8.0 + 0.6 + 0.6 + 2.0 + 1.0)
    assert least.cached_share == pytest.approx(1 - 300 / 420)


def test_bound_with_one_cache_by_hand() -> None:
    least = bound(vllm(), [debate(number, "a", "a", "a") for number in (1, 2)])

    # The stem once, then 20, 10 and 10 tokens a debate; two streams, for there are two debates.
    assert least.reading_s == pytest.approx((40 + 2 * 40) / 100)
    assert least.writing_s == pytest.approx(2 * 25 / 20)
    assert least.loads == 0
    assert least.seconds == pytest.approx(3.7)


def test_bound_with_room_for_all_loads_once() -> None:
    least = bound(ollama(vram_gib=20.0), [debate(number, "a", "b", "a") for number in (1, 2)])

    # The judge finds the model loaded, and what the advocate read in its cache; the second load may hide.
    assert (least.loads, least.loading_s) == (2, 2.0)
    assert least.reading_s == pytest.approx((40 + 2 * 40) / 100 + (40 + 2 * 30) / 50)


def test_bound_is_never_less_than_one_debate() -> None:
    least = bound(vllm(replicas=4), [debate(number, "a", "a", "a") for number in range(4)])

    assert least.seconds == least.longest_s == pytest.approx(40 / 100 + 25 / 10)


def test_small_cache_serves_fewer_at_once() -> None:
    debates = [debate(number, "a", "a", "a") for number in range(4)]

    small, large = bound(vllm(kv_tokens=160), debates), bound(vllm(), debates)

    assert small.writing_s > large.writing_s == pytest.approx(4 * 25 / 40)


@pytest.mark.parametrize(
    ("chain", "room", "loads"),
    [("aba", 1, 3), ("aba", 2, 2), ("abc", 1, 3), ("abc", 2, 3), ("abcab", 2, 4), ("aaa", 1, 1)],
)
def test_least_loads_are_those_of_one_chain(chain: str, room: int, loads: int) -> None:
    assert least_loads(chain, room).total() == loads


@pytest.mark.parametrize(("slots", "together"), [(1, 2), (4, 1)])
def test_slots_take_the_room_of_a_model(slots: int, together: int) -> None:
    profile = load_profile("rtx4080", [f"slots={slots}"])

    assert resident_at_once(profile, {model.name for model in profile.models}) == together


def test_convex_function_lies_below() -> None:
    values = {1: 0.0, 2: 5.0, 3: 2.0, 4: 9.0}

    assert [convex_below(values.__getitem__, 1, 4, at) for at in (1, 2, 3, 3.5)] == [0.0, 1.0, 2.0, 5.5]


@pytest.mark.parametrize("kv_tokens", [6_000, 12_000, 60_000])
@pytest.mark.parametrize("limit", [1, 3, 8, 24])
def test_no_limit_beats_the_bound(kv_tokens: int, limit: int) -> None:
    case = Case(
        group="",
        title="",
        source="h100",
        changes=(f"kv_tokens={kv_tokens}", "max_model_len=3000", "jitter=0.2"),
        models=dict.fromkeys(ORDER, "llama3.1:8b"),
        records=24,
        pacing=Pacing(scale=1.0),
    )

    point = closed_loop(case.profile, transcript(case, 24), limit)

    assert point.seconds >= bound_of(case, 24).seconds


def test_page_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{BEGINS}\nold\n{ENDS}\n\n## After\n")

    write("new", page)

    assert page.read_text() == f"# Before\n\n{BEGINS}\n\nnew\n\n{ENDS}\n\n## After\n"
    assert with_part(page.read_text(), "new") == page.read_text()


@pytest.mark.parametrize("page", ["", BEGINS, ENDS, f"{ENDS}{BEGINS}", f"{BEGINS}{ENDS}{BEGINS}{ENDS}"])
def test_page_without_its_marks_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs"):
        with_part(page, "new")


def test_spans_follow_the_timeline() -> None:
    events = [
        {"t": 5.0, "event": "load_begins", "model": "a"},
        {"t": 7.0, "event": "load", "model": "a"},
        {"t": 7.5, "event": "begin", "model": "a"},
        {"t": 9.0, "event": "evict", "model": "a"},
        {"t": 9.5, "event": "load_begins", "model": "b"},
        {"t": 11.0, "event": "load", "model": "b"},
        {"t": 20.0, "event": "end", "model": "b"},
    ]

    assert spans(events) == [
        Span(model="a", loading=True, begins=0.0, ends=2.0),
        Span(model="a", loading=False, begins=2.0, ends=4.0),
        Span(model="b", loading=True, begins=4.5, ends=6.0),
        Span(model="b", loading=False, begins=6.0, ends=15.0),
    ]
