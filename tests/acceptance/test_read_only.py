"""A database in a folder that nobody can write to is read like any other, and one that cannot be read says why."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.places import COMMAND, SAMPLE, Place

Look = Callable[..., "subprocess.CompletedProcess[str]"]
# Root may write anywhere but on a file system that is mounted without the right to.
MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'


@pytest.fixture
def look(place: Place) -> Look:
    """Give a command in a folder that cannot be written to while it runs."""
    root = os.geteuid() == 0
    wrapped = ["unshare", "--mount", "sh", "-c", MOUNTED, str(place.home)] if root else []
    if root and subprocess.run([*wrapped, "true"], capture_output=True, check=False).returncode:
        pytest.skip("neither permissions nor mounts bind this user")

    def given(*words: str | Path) -> subprocess.CompletedProcess[str]:
        place.home.chmod(0o555)
        command = [*wrapped, str(COMMAND), *map(str, words)]
        try:
            return subprocess.run(command, cwd=place.home, capture_output=True, text=True, check=False, timeout=240)
        finally:
            place.home.chmod(0o755)

    return given


def test_database_at_rest_is_read_anywhere(place: Place, look: Look, tmp_path: Path) -> None:
    place.run("submit", SAMPLE, "--debate", "posting")
    place.run("process-pending", "--max-tasks", "3")
    before = sorted(place.home.iterdir())

    ends = [
        look(*words)
        for words in (
            ["status"],
            ["show", "posting-001"],
            ["errors"],
            ["db", "check"],
            ["db", "verify"],
            ["export", tmp_path / "out.csv"],
        )
    ]

    assert [(end.returncode, end.stderr) for end in ends] == [(0, "")] * 6
    assert "42 tasks, 9 turns, 3 verdicts: every promise is kept" in ends[4].stdout
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()) > 42
    assert sorted(place.home.iterdir()) == before


def test_database_of_a_killed_run_is_read(place: Place, look: Look) -> None:
    place.run("submit", place.records(2000), "--debate", "posting")
    running = place.start("process-pending", "--max-workers", "1")
    place.until_spoken(5)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert list(place.home.glob(".*.lock"))

    end = look("status")

    assert (end.returncode, end.stderr) == (0, "")
    assert "pending" in end.stdout


def test_log_that_cannot_be_read_is_named(place: Place, look: Look, tmp_path: Path) -> None:
    place.run("submit", SAMPLE, "--debate", "posting")
    with closing(sqlite3.connect(place.database)) as connection:
        connection.execute("UPDATE tasks SET priority = 3")
        connection.commit()
        for name in ("orchestrate.db", "orchestrate.db-wal"):
            shutil.copy(place.home / name, tmp_path / name)
    for name in ("orchestrate.db", "orchestrate.db-wal"):
        shutil.move(tmp_path / name, place.home / name)

    end = look("status")

    assert end.returncode == 1
    assert "orchestrate.db-wal beside it holds what was written last" in end.stderr
    assert "copy orchestrate.db* into one that is" in end.stderr


def test_run_says_that_it_cannot_write(place: Place, look: Look) -> None:
    place.run("submit", SAMPLE, "--debate", "posting")

    end = look("process-pending")

    assert end.returncode == 1
    assert "check" in end.stderr
    assert "Traceback" not in end.stderr


def test_empty_file_is_called_empty(place: Place) -> None:
    place.database.touch()

    said = [place.run(*words, code=1) for words in (["status"], ["export", "out.csv"], ["db", "verify"])]

    assert all(f"the database {place.database} is empty: submit records first" in each for each in said)
    assert f"{place.database}: it is empty, this program works with" in place.run("db", "check", code=1)
    place.run("submit", SAMPLE, "--debate", "posting")
    assert place.rows("SELECT count(*) FROM tasks") == [(42,)]
