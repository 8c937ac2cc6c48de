"""Names lead to files of their own folder only, files are whole or not there, and only their owner reads them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from orchestrator.app.workplace import open_workplace
from orchestrator.assets import Folders, shipped
from orchestrator.cast import read_debate
from orchestrator.domain import RunId
from orchestrator.errors import CastError, OrchestrateError
from orchestrator.records.atomic import replacing
from orchestrator.scheduler.liveness import alive, dead
from tests.acceptance.places import SAMPLE, Place

TRAVERSALS = [
    *("..", "../secret", "../../secret", "a/../../secret", "/secret", "./posting", "posting/", "posting/../posting"),
    *(
        "posting\\..\\secret",
        "..\\secret",
        "%2e%2e/secret",
        "posting\x00",
        "posting\n",
        "~",
        "~root",
        "$HOME",
        "C:secret",
    ),
    *("．．/secret", "secret.toml", "", ".", "-", "_secret", "Posting"),
]
PRIVATE = "root:x:0:0:the secret file"
POSTING = (shipped() / "prompts/posting/debate.toml").read_text(encoding="utf-8")


def home_with_secret(tmp_path: Path) -> Path:
    """A user's folder, and beside it files that no name may lead to."""
    home = tmp_path / "home"
    (home / "prompts/mine").mkdir(parents=True)
    (home / "actors").mkdir()
    for place in (tmp_path / "secret", home / "secret", home / "prompts/mine/secret"):
        place.mkdir()
        for name in ("debate.toml", "secret.toml", "rules.md", "secret.md"):
            (place / name).write_text(PRIVATE)
    (home / "prompts/mine/debate.toml").write_text(POSTING)
    for name in ("rules.md", "record.md", "advocate.md", "critic.md", "judge.md"):
        (home / "prompts/mine" / name).write_text((shipped() / "prompts/posting" / name).read_text(encoding="utf-8"))
    return home


@pytest.mark.parametrize("name", TRAVERSALS)
def test_debate_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    home = home_with_secret(tmp_path)

    with pytest.raises(CastError, match="is no debate's name") as refused:
        open_workplace(home, {}).debate(name)

    assert PRIVATE not in str(refused.value)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_card_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    home = home_with_secret(tmp_path)
    cast = POSTING.replace('judge = "judge"', f"judge = {json.dumps(name)}")
    (home / "prompts/mine/debate.toml").write_text(cast)

    with pytest.raises(CastError) as refused:
        read_debate("mine", Folders(home))

    assert PRIVATE not in str(refused.value)


@pytest.mark.parametrize(
    "name", [*TRAVERSALS, "../secret/rules.md", "secret/secret.md", "/etc/passwd", "a.md/../secret.md"]
)
def test_prompt_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    home = home_with_secret(tmp_path)
    card = f'role = "judge"\nmodel = "rehearsal"\nprompt = {json.dumps(name)}\n'
    (home / "actors/judge.toml").write_text(card)

    with pytest.raises(CastError) as refused:
        read_debate("mine", Folders(home))

    assert PRIVATE not in str(refused.value)


@pytest.mark.parametrize("link", ["prompts/mine/rules.md", "prompts/mine/judge.md", "prompts/mine/record.md"])
@pytest.mark.parametrize("target", ["../../../secret/secret.md", "absolute"])
def test_link_out_of_the_folder_is_not_followed(tmp_path: Path, link: str, target: str) -> None:
    home = home_with_secret(tmp_path)
    (home / link).unlink()
    (home / link).symlink_to(tmp_path / "secret/secret.md" if target == "absolute" else target)

    with pytest.raises(CastError, match="is missing"):
        read_debate("mine", Folders(home))


def test_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    home = home_with_secret(tmp_path)
    (home / "prompts").rename(tmp_path / "shared")
    (home / "prompts").symlink_to(tmp_path / "shared")
    (home / "prompts/mine/judge.md").unlink()
    (home / "prompts/mine/judge.md").symlink_to("critic.md")

    debate = read_debate("mine", Folders(home))

    assert debate.actors[2].prompt == debate.actors[1].prompt


def test_template_takes_in_no_file(tmp_path: Path) -> None:
    home = home_with_secret(tmp_path)
    (home / "prompts/mine/rules.md").write_text("{% include '../../secret/secret.md' %}")

    with pytest.raises(CastError, match="cannot take in another file"):
        read_debate("mine", Folders(home))


def test_key_with_a_path_makes_no_file(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    place.home.mkdir()
    record = json.loads(SAMPLE.read_text(encoding="utf-8").splitlines()[0])
    keys = ["../../out", "/tmp/out", "a/b", "..", "~/out"]  # noqa: S108 -- names
    (place.home / "records.jsonl").write_text("".join(json.dumps(record | {"id": key}) + "\n" for key in keys))

    place.run("submit", "records.jsonl", "--debate", "posting")
    place.run("process-pending")
    place.run("export", "out.csv")

    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert {path.name for path in place.home.iterdir()} == {"records.jsonl", "out.csv", *_database(place)}
    assert [json.loads(place.run("show", key, "--json"))[0]["key"] for key in keys] == keys


def test_written_files_are_their_owners(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()[:3]
    (tmp_path / "records.jsonl").write_text("\n".join([*lines, "{"]))
    before = os.umask(0)
    try:
        place.run("submit", "records.jsonl", "--debate", "posting", "--skip-bad")
        place.run("process-pending")
        for name in ("out.csv", "out.jsonl", "out.parquet"):
            place.run("export", name)
    finally:
        os.umask(before)

    written = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.name != "records.jsonl"
    }

    assert {"orchestrate.db", "records.bad.jsonl", "out.csv", "out.jsonl", "out.parquet"} <= written.keys()
    assert {name: oct(mode) for name, mode in written.items() if mode & 0o077} == {}


@pytest.mark.parametrize("fails", [OSError, OrchestrateError, KeyboardInterrupt])
def test_broken_off_file_is_as_it_was(tmp_path: Path, fails: type[BaseException]) -> None:
    path = tmp_path / "out.csv"
    path.write_text("older")

    def break_off() -> None:
        with replacing(path) as stream:
            stream.write(b"half of")
            stream.flush()
            raise fails("no")

    with pytest.raises((OrchestrateError, KeyboardInterrupt)):
        break_off()

    assert path.read_text() == "older"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "out.csv").symlink_to("precious")

    with replacing(tmp_path / "out.csv") as stream:
        stream.write(b"new")

    assert (tmp_path / "precious").read_text() == "keep"
    assert (tmp_path / "out.csv").read_text() == "new"


def _database(place: Place) -> set[str]:
    return {path.name for path in place.home.iterdir() if "orchestrate.db" in path.name}


@pytest.mark.parametrize(
    "name",
    [
        "orchestrate.toml",
        ".orchestrate.db",
        "../secret",
        "run.lock",
        ".x.run-0123456789ab.lock/../secret",
        "\0",
        "x" * 999,
    ],
)
def test_lock_that_a_database_names_is_no_other_file(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = [home / "orchestrate.toml", home / ".orchestrate.db", home / "run.lock", tmp_path / "secret"]
    for place in places:
        place.write_text(PRIVATE)

    assert dead(home / "orchestrate.db", {RunId(1): name}) == [1]

    assert [place.read_text() for place in places] == [PRIVATE] * len(places)


def test_lock_of_a_live_run_is_found_held(tmp_path: Path) -> None:
    database = tmp_path / "orchestrate.db"

    with alive(database) as lock:
        assert dead(database, {RunId(1): lock}) == []
    assert dead(database, {RunId(1): lock}) == [1]
