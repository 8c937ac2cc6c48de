"""What is taken where memory runs out, and when more is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.backends.ladder import PATIENCE, TOO_LONG, Ladder, rungs
from orchestrator.ports import Sampling

BIG, SMALL = "qwen2.5:14b", "qwen2.5:3b"


def sampling(**fallbacks: Any) -> Sampling:
    return Sampling(temperature=0.0, seed=1, context=8192, reply_limit=200, timeout_s=20, **fallbacks)


@pytest.mark.parametrize(
    ("fallbacks", "expected"),
    [
        ({}, [(BIG, 8192)]),
        ({"fallback_context": 4096}, [(BIG, 8192), (BIG, 4096)]),
        ({"fallback_model": SMALL}, [(BIG, 8192), (SMALL, 8192)]),
        (
            {"fallback_context": 4096, "fallback_model": SMALL},
            [(BIG, 8192), (BIG, 4096), (SMALL, 8192), (SMALL, 4096)],
        ),
    ],
)
def test_rungs_are_what_the_card_names(fallbacks: dict[str, Any], expected: list[tuple[str, int]]) -> None:
    assert [(rung.model, rung.sampling.context) for rung in rungs(BIG, sampling(**fallbacks))] == expected


def test_it_goes_down_to_the_last_rung() -> None:
    ladder, card = Ladder(), sampling(fallback_context=4096, fallback_model=SMALL)

    moved = [ladder.down(BIG, card) for _ in range(5)]

    assert moved == [True, True, True, False, False]
    assert str(ladder.rung(BIG, card)) == f"{SMALL} with a context of 4096 tokens"


def test_good_turns_bring_it_up_again() -> None:
    ladder, card = Ladder(), sampling(fallback_context=4096)
    ladder.down(BIG, card)

    for _ in range(PATIENCE[0]):
        assert not ladder.impatient(BIG)
        ladder.went_well(BIG)

    assert ladder.impatient(BIG)
    ladder.up(BIG)
    assert not ladder.moved(BIG)
    assert not ladder.impatient(BIG)


def test_each_fall_after_a_rise_doubles_patience() -> None:
    ladder, card, needed = Ladder(), sampling(fallback_context=4096), []
    for _ in range(7):
        ladder.down(BIG, card)
        needed.append(turns_until_impatient(ladder))
        ladder.up(BIG)

    assert needed == [64, 128, 256, 512, 1024, 1024, 1024]


def turns_until_impatient(ladder: Ladder) -> int:
    turns = 0
    while not ladder.impatient(BIG):
        ladder.went_well(BIG)
        turns += 1
    return turns


def test_nothing_but_long_prompts_brings_it_up() -> None:
    ladder, card = Ladder(), sampling(fallback_context=4096)
    ladder.down(BIG, card)

    for _ in range(TOO_LONG - 1):
        ladder.too_long(BIG)
    ladder.went_well(BIG)
    ladder.too_long(BIG)

    assert not ladder.impatient(BIG)
    for _ in range(TOO_LONG - 1):
        ladder.too_long(BIG)
    assert ladder.impatient(BIG)


def test_top_rung_is_never_impatient() -> None:
    ladder = Ladder()

    for _ in range(2 * PATIENCE[0]):
        ladder.went_well(BIG)

    assert not ladder.impatient(BIG)
