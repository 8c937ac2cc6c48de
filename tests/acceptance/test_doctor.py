"""The doctor on the command line: what goes where, and what a script can wait for."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.places import Place, chats, ollama

CAST = {"advocate": "small", "critic": "other", "judge": "small"}


def test_exam_of_models_stores_nothing(place: Place, tmp_path: Path) -> None:
    place.cards(CAST)
    calls = tmp_path / "calls"

    with ollama(calls, ["small", "other"]) as url:
        place.settings(f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n')
        running = place.start("doctor", "--models", "--debate", "posting", "--json")
        out, err = running.communicate(timeout=120)

    assert running.returncode == 0, out + err
    found = {finding["about"]: finding["health"] for finding in json.loads(out)}
    assert found["model small on gpu, schema"] == found["model other on gpu, too long a prompt"] == "good"
    assert "other on gpu: schema" in err
    assert len(chats(calls)) == 16
    assert not place.database.exists()


def test_quick_look_is_the_default(place: Place, tmp_path: Path) -> None:
    place.cards(CAST)

    with ollama(tmp_path / "calls", ["small", "other"]) as url:
        place.settings(f'[endpoints.gpu]\nbackend = "ollama"\nurl = "{url}"\n')
        said = place.run("doctor", "--debate", "posting")

    assert "ok    prompts of posting: record 'posting-001'" in said
    assert chats(tmp_path / "calls") == []


def test_bad_prompt_is_an_exit_code(place: Place) -> None:
    place.cards(dict.fromkeys(CAST, "rehearsal"), context=256)

    said = place.run("doctor", "--debate", "posting", code=1)

    assert "BAD   prompts of posting: advocate (actors/advocate.toml)" in said


def test_time_is_for_an_exam_only(place: Place) -> None:
    assert "--within goes with --models" in place.run("doctor", "--within", "5", code=2)
