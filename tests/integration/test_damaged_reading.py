"""Whatever is wrong with a database, commands that read it end in one line that names the file, or in an answer."""

from __future__ import annotations

import contextlib
import io
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from orchestrator.app.planning import plan
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.cli.commands import app
from orchestrator.errors import NotFoundError, StoreError
from tests.integration.damage import bytes_changed, filled, value_changed

SEED = 20261121
MUTATIONS = 300
AT_ONCE = 5  # commands tried on one mutation
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "--json"),
    ("show",),
    ("show", "--json"),
    ("show", "posting-001"),
    ("show", "posting-006", "--json"),
    ("errors",),
    ("errors", "--json"),
    ("export", "out.jsonl", "--force"),
    ("export", "out.csv", "--records", "--force"),
    ("plan",),
    ("db", "check"),
    ("db", "verify"),
    ("db", "verify", "--json"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return filled(tmp_path_factory.mktemp("damaged") / "night")


def answered(home: Path, words: tuple[str, ...]) -> bool:
    """Give a command: whether it answered, and did not find the database broken.

    Raises what it raises, if that is not for the user to read.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = app(["--home", str(home), *words], standalone_mode=False)
        except NotFoundError:
            return True  # the damage is in the key that was asked for
        except StoreError as error:
            if str(home / "orchestrate.db") in str(error):
                return False
            raise
    return not code


@pytest.mark.parametrize("harm", ["bytes", "values"])
def test_damage_is_said_in_words(night: Workplace, tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, refused = Random(f"{SEED} {harm}"), Counter[bool]()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(night.config.home, tmp_path / "night")
    path, whole = tmp_path / "night/orchestrate.db", night.config.database.read_bytes()

    for number in range(MUTATIONS // 2):
        path.write_bytes(bytes_changed(whole, chance) if harm == "bytes" else whole)
        what = value_changed(path, chance) if harm == "values" else harm
        for words in chance.sample(COMMANDS, AT_ONCE):
            try:
                refused[not answered(path.parent, words)] += 1
            except Exception as error:
                raise AssertionError(f"{' '.join(words)}, mutation {number}: {what}") from error
    print(f"{harm}: {MUTATIONS // 2} mutations, {refused.total()} commands, {refused[True]} refused, 0 tracebacks")

    assert refused[True] > refused.total() // 8, "damage that nobody notices proves nothing"


def test_step_that_no_debate_has_ends_the_plan(night: Workplace, tmp_path: Path) -> None:
    place = open_workplace(Path(shutil.copytree(night.config.home, tmp_path / "night")), {})
    with closing(sqlite3.connect(place.config.database, isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET next_model = 'gilded' WHERE status = 'pending'")

    with pytest.raises(StoreError, match=r"orchestrate\.db is damaged, .* wait for advocate 1 \(gilded\), which"):
        plan(place, "posting")


@pytest.mark.parametrize("words", COMMANDS)
def test_whole_database_is_read_by_every_command(
    night: Workplace, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert answered(night.config.home, words)
