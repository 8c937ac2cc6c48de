"""Tests of the tests: a package that forgets its token, acknowledges too early or syncs too little must fail one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("orchestrator", "migrations", "actors", "prompts", "tests", "pyproject.toml")

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A fault put into the code, and the test that must see it."""

    file: str
    old: str
    new: str
    seen_by: str


MUTATIONS = {
    "the token dropped from the update": Mutation(
        file="orchestrator/store/spoken.py",
        old='        tasks.c.token == bindparam("under"),\n        tasks.c.status ==',
        new="        tasks.c.status ==",
        seen_by="tests/contract/test_task_store.py::test_write_under_an_old_token_is_refused[sql]",
    ),
    "acknowledged before the commit": Mutation(
        file="orchestrator/scheduler/commits.py",
        old="                results = [verb(self._store) for verb, _ in group]\n",
        new="                results = [verb(self._store) for verb, _ in group]\n"
        "                told = [(future, value, None) for (_, future), value in zip(group, results, strict=True)]\n"
        "                self._loop.call_soon_threadsafe(_tell, told)\n"
        "                group = []\n",
        seen_by="tests/faults/test_acknowledged.py::test_failed_commit_is_not_acknowledged",
    ),
    "NORMAL in place of FULL": Mutation(
        file="orchestrator/store/engine.py",
        old='f"synchronous={synchronous}"',
        new='"synchronous=NORMAL"',
        seen_by="tests/faults/test_acknowledged.py::test_acknowledged_turn_survives_the_power_cut",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests, to be spoilt."""
    folder = tmp_path_factory.mktemp("spoilt")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def judged(copy: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of the copy; 0 if all passed, 1 if one failed, anything else if none could be run."""
    inherited = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(copy), inherited)))}
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    return subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_unspoilt_copy_passes(copy: Path) -> None:
    ended = judged(copy, *(mutation.seen_by for mutation in MUTATIONS.values()))

    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout


@pytest.mark.parametrize("name", MUTATIONS)
def test_spoilt_copy_fails_its_test(copy: Path, name: str) -> None:
    mutation = MUTATIONS[name]
    file = copy / mutation.file
    sound = file.read_text()
    assert sound.count(mutation.old) == 1, f"{mutation.file} has changed: say again how to spoil it"

    file.write_text(sound.replace(mutation.old, mutation.new))
    ended = judged(copy, mutation.seen_by)
    file.write_text(sound)

    assert ended.returncode == 1, ended.stdout
    assert "1 failed" in ended.stdout
