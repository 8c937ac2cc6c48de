"""The documents say what the code says: generated pages are fresh, links lead somewhere, commands are known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator.cli.commands import app
from scripts import generate_docs

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE_BY_LINE = 25

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_BETWEEN = {"|", "||", "&", "&&", ";", ">", ">>", "<"}


def here(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def shell_blocks(path: Path) -> Iterator[str]:
    for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "sh":
            yield text


def commands(path: Path) -> list[tuple[str, ...]]:
    """Every `orchestrate …` in the shell blocks of a page, without what stands around it."""
    found = []
    for block in shell_blocks(path):
        for line in block.replace("\\\n", " ").splitlines():
            found += [part for part in parts(line) if part]
    return found


def parts(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    # By itself shlex would take the # of a word for a comment, and split at signs that a shell does not split at.
    lexer.whitespace_split, lexer.commenters = True, ""
    command: list[str] | None = None
    for word in [*lexer, ";"] if "orchestrate" in line and not line.lstrip().startswith("#") else []:
        if word in _BETWEEN or word.startswith("#"):
            if command is not None:
                yield tuple(command)
            command = None
            if word.startswith("#"):
                return
        elif command is not None:
            command.append(word)
        elif word.rpartition("/")[2] == "orchestrate":
            command = []


def parse(words: tuple[str, ...]) -> None:
    """Parse as the program would, and run nothing. Raises typer's own usage errors."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("orchestrate", list(words))
    while hasattr(group, "commands"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)


def anchors(path: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in _HEADING.findall(prose(path))
    }


def test_generated_pages_are_fresh() -> None:
    assert not [here(path) for path in generate_docs.stale()], "run make docs"


def test_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_docs, "FOLDER", tmp_path / "docs/reference")
    monkeypatch.setattr(generate_docs, "PAGES", {"one.md": lambda: "one", "two.md": lambda: "two"})
    generate_docs.write()
    (tmp_path / "docs/reference/two.md").write_text("old")
    monkeypatch.setattr("sys.argv", ["generate_docs", "--check"])

    code = generate_docs.main()

    assert code == 1
    assert capsys.readouterr().err == "stale: docs/reference/two.md; run make docs\n"


def test_readme_shows_code_early() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()

    assert lines.index("```sh") + 1 <= CODE_BY_LINE


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_first_commands(command: str) -> None:
    assert any(command in block for block in shell_blocks(README))


@pytest.mark.parametrize("page", PAGES, ids=here)
def test_links_lead_to_files(page: Path) -> None:
    targets = [target for target in _LINK.findall(prose(page)) if "://" not in target]
    missing = []
    for target in targets:
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            missing.append(target)

    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=here)
def test_commands_in_pages_are_known(page: Path) -> None:
    for words in commands(page):
        parse(words)


@pytest.mark.parametrize("page", [README, ROOT / "docs/quickstart.md"], ids=here)
def test_first_pages_do_show_commands(page: Path) -> None:
    assert {words[0] for words in commands(page)} >= {"init", "submit", "process-pending", "show", "export"}


def test_commands_are_found_amid_a_shell_line() -> None:
    line = "X=1 nohup .venv/bin/orchestrate plan --debate 'a b' > out 2>&1 && orchestrate status # orchestrate x"

    assert list(parts(line)) == [("plan", "--debate", "a b"), ("status",)]


@pytest.mark.parametrize("words", [("judge",), ("plan", "--fast"), ("db", "mend"), ("submit",)])
def test_unknown_words_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(typer.BadParameter.__mro__[1]):
        parse(words)
