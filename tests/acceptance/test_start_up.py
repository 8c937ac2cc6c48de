"""Commands that call no model do not wait for the libraries that do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.acceptance.places import Place

PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr))
from orchestrator.cli import main
main()
"""
MODELS = {"langchain_core", "langchain_openai", "langchain_ollama", "langgraph", "openai", "ollama", "aiohttp"}


def imported(place: Place, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=place.home, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture
def ready(place: Place) -> Place:
    place.run("init")
    place.run("submit", "prompts/posting/sample.jsonl", "--debate", "posting")
    return place


@pytest.mark.parametrize(
    "words",
    [
        ("init",),
        ("submit", "prompts/posting/sample.jsonl", "--debate", "posting"),
        ("plan",),
        ("status",),
        ("show", "posting-001"),
        ("export", "-"),
        ("errors",),
        ("retry",),
        ("cancel", "--key", "posting-001"),
        ("db", "check"),
    ],
)
def test_no_model_library_is_imported(ready: Place, words: tuple[str, ...]) -> None:
    assert not imported(ready, *words) & MODELS


def test_help_imports_next_to_nothing(place: Place) -> None:
    for words in (("--help",), ("process-pending", "--help")):
        assert not imported(place, *words) & (MODELS | {"sqlalchemy", "alembic", "jinja2", "pyarrow", "rich"})
