"""Which endpoints a plan shares the turns out among, by what they told."""

from __future__ import annotations

import pytest

from orchestrator.app.asking import Told, taking_part
from orchestrator.app.casting import Casting
from orchestrator.config import EndpointSettings
from orchestrator.ports import Sampling

SAMPLING = Sampling(temperature=0.3, seed=1, context=8192, reply_limit=700, timeout_s=180)


@pytest.mark.parametrize(
    ("endpoints", "down", "taking"),
    [
        ({"one": "ab", "two": "ab"}, [], ["one", "two"]),
        ({"one": "ab", "two": "ab"}, ["one"], ["two"]),
        ({"one": "ab", "two": "ab"}, ["one", "two"], ["one", "two"]),
        ({"one": "ab", "two": "a"}, ["one"], ["one", "two"]),
        ({"one": "ab", "two": "a", "three": "b"}, ["one"], ["two", "three"]),
        ({"one": "ab", "two": "a", "three": "b"}, ["one", "three"], ["one", "two", "three"]),
        ({"one": "ab", "two": "a", "three": "b"}, ["two", "three"], ["one"]),
        ({"one": "a"}, ["one"], ["one"]),
    ],
)
def test_only_who_can_be_replaced_is_left_out(endpoints: dict[str, str], down: list[str], taking: list[str]) -> None:
    castings = [
        Casting(name=name, settings=EndpointSettings(backend="rehearsal"), models=dict.fromkeys(models, SAMPLING))
        for name, models in endpoints.items()
    ]
    told = [Told(answers=each.name not in down, files=None, loaded=frozenset()) for each in castings]

    assert [each.name for each in taking_part(castings, told)] == taking
