"""A folder to work in, the command line to work with, and the stand-in for Ollama as a program of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("orchestrate")
SAMPLE = ROOT / "prompts/posting/sample.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """A user's folder."""

    home: Path

    @property
    def database(self) -> Path:
        """Where the tasks are."""
        return self.home / "orchestrate.db"

    def start(self, *words: str | Path, **settings: str) -> subprocess.Popen[str]:
        """A command that goes on by itself; whoever starts it ends it."""
        return subprocess.Popen(
            [COMMAND, *map(str, words)],
            cwd=self.home,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path, code: int = 0, **settings: str) -> str:
        """Standard output of a command that must end with `code`."""
        running = self.start(*words, **settings)
        out, err = running.communicate(timeout=240)
        assert running.returncode == code, f"{words} ended with {running.returncode}:\n{out}\n{err}"
        return out if code == 0 else out + err

    def json(self, *words: str | Path) -> Any:
        """What a command says in JSON."""
        return json.loads(self.run(*words, "--json"))

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of the database, by a reader of its own."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(question).fetchall()

    def until(self, question: str) -> None:
        """Wait until the database answers a question with something other than nothing and nought."""
        ends = time.monotonic() + 60
        while not self.rows(question)[0][0]:
            assert time.monotonic() < ends, question
            time.sleep(0.05)

    def until_spoken(self, turns: int) -> None:
        """Wait until so many turns are on disk: a run that has said nothing yet shows nothing of what befalls it."""
        self.until(f"SELECT count(*) >= {turns} FROM turns")

    def dump(self) -> str:
        """The whole database as SQL."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return "\n".join(connection.iterdump())

    def cards(self, models: Mapping[str, str], **options: object) -> None:
        """Cards that name a model for each role."""
        (self.home / "actors").mkdir(exist_ok=True)
        for role, model in models.items():
            lines = {"role": role, "model": model, "prompt": f"{role}.md", **options}
            text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
            (self.home / "actors" / f"{role}.toml").write_text(text)

    def one_label(self) -> None:
        """The debate with one label: models whose words mean nothing would contradict themselves with several."""
        definition, _, _ = (ROOT / "prompts/posting/debate.toml").read_text().partition("[[labels]]")
        folder = self.home / "prompts/posting"
        folder.mkdir(parents=True)
        (folder / "debate.toml").write_text(f'{definition}[[labels]]\nname = "judged"\nfrom = 0\nto = 10\n')

    def settings(self, text: str) -> None:
        """An orchestrate.toml."""
        (self.home / "orchestrate.toml").write_text(text)

    def records(self, count: int) -> Path:
        """So many records, made from the shipped sample."""
        lines = SAMPLE.read_text().splitlines()
        path = self.home / "records.jsonl"
        with path.open("w") as out:
            for number in range(count):
                record = json.loads(lines[number % len(lines)])
                out.write(
                    json.dumps(record | {"id": f"r{number:05}", "title": f"r{number:05} {record['title']}"}) + "\n"
                )
        return path


@contextmanager
def ollama(calls: Path, models: Sequence[str], **options: object) -> Iterator[str]:
    """The stand-in as a program; gives its address."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [
        sys.executable,
        "-m",
        "tests.servers.ollama",
        "--models",
        ",".join(models),
        "--calls",
        str(calls),
        *words,
    ]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate(timeout=10)


def chats(calls: Path) -> list[dict[str, Any]]:
    """The calls that asked for a turn, in order of their end."""
    return [call for call in map(json.loads, calls.read_text().splitlines()) if call["kind"] == "chat"]


def spoken(calls: Path) -> Counter[tuple[str, str]]:
    """How often each turn was asked for, by key and role; the record's title begins with its key."""
    return Counter(_turn(call["body"]) for call in chats(calls))


def _turn(body: dict[str, Any]) -> tuple[str, str]:
    content = body["messages"][1]["content"]
    key = content.split("Title: ", 1)[1].split(" ", 1)[0]
    if "verdict_score" in body["format"]["properties"]:
        return key, "judge"
    return key, "critic" if "<<<STATEMENT" in content else "advocate"
