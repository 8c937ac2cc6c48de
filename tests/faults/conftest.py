"""The process that forks commands, once a test process; and stages with a model server each, in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.faults.scene import Forks, Stage, model_server


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("said"))
    yield forks
    forks.close()


@pytest.fixture
def set_up(tmp_path: Path, forks: Forks) -> Iterator[Callable[[float], Stage]]:
    """Gives a stage whose model server takes so many seconds for a reply."""
    numbers = count(1)
    with ExitStack() as stack:

        def stage(latency_s: float) -> Stage:
            folder = tmp_path / f"stage-{next(numbers)}"
            folder.mkdir()
            url = stack.enter_context(model_server(folder / "calls.jsonl", latency_s))
            return Stage(folder=folder, forks=forks, url=url, calls=folder / "calls.jsonl")

        yield stage
