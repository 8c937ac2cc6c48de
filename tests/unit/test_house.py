"""The rules of the house that no other tool checks: sizes, words, docstrings, and what must stand nowhere."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "orchestrator"

LONGEST_MODULE = 300
LONGEST_TEST = 500
LONGEST_FUNCTION = 40
# They name anything and say nothing, or mean something else in this field.
BANNED = {
    *("agent", "pipeline", "stage", "manager", "handler", "service"),
    *("util", "utils", "helper", "helpers", "item", "items", "data", "info"),
}
# What no checkout tracks; kept in step with .gitignore.
UNTRACKED = {".git", ".venv", "build", "dist", "demo", "__pycache__"}
UNTRACKED |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".hypothesis"}
TEXT = {".py", ".md", ".toml", ".lock", ".sh", ".json", ".jsonl", ".csv", ".mako", ".txt", ".cfg", ".ini", ".yml", ""}
# Written in parts, so that this file does not break its own rule.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("yarnpkg", "com"),
            ("anaconda", "org"),
            ("crates", "io"),
            ("proxy.golang", "org"),
        )
    )
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COMMON = {Path(name) for name in ("/", "/tmp", "/opt", "/srv", "/var", "/usr", "/mnt", "/home")}  # noqa: S108 -- names


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def tracked() -> Iterator[Path]:
    """Files that look tracked: text, and in no folder that .gitignore names."""
    for folder, names, files in os.walk(ROOT):
        names[:] = sorted(set(names) - UNTRACKED)
        yield from (Path(folder, file) for file in sorted(files) if Path(file).suffix in TEXT)


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def defined(path: Path) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def here(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_stay_short() -> None:
    assert not [f"{here(path)}: {lines(path)}" for path in modules() if lines(path) > LONGEST_MODULE]


def test_test_files_stay_short() -> None:
    long = [path for path in sorted((ROOT / "tests").rglob("*.py")) if lines(path) > LONGEST_TEST]

    assert not [f"{here(path)}: {lines(path)}" for path in long]


def test_functions_stay_short() -> None:
    long = [
        f"{here(path)}:{node.lineno} {node.name}"
        for path in modules()
        for node in defined(path)
        if not isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    ]

    assert not long


def test_names_avoid_empty_words() -> None:
    named = [(path, path.stem) for path in modules()]
    named += [(path.parent, path.parent.name) for path in modules()]
    named += [(path, node.name) for path in modules() for node in defined(path)]

    assert not [f"{here(path)}: {name}" for path, name in named if words(name) & BANNED]


def words(name: str) -> set[str]:
    """The words of a name, split at underscores and capitals."""
    return {word.lower() for word in _WORDS.findall(name)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("process_data", {"process", "data"}),
        ("DataItem", {"data", "item"}),
        ("HTTPHandler", {"http", "handler"}),
        ("metadata", {"metadata"}),
    ],
)
def test_names_split_at_underscores_and_capitals(name: str, expected: set[str]) -> None:
    assert words(name) == expected


@pytest.mark.parametrize("folder", ["orchestrator", "scripts", "tests", "benchmarks", "migrations"])
def test_every_module_says_its_idea(folder: str) -> None:
    bare = [
        here(path)
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert not bare


def test_every_folder_of_modules_is_a_package() -> None:
    assert not [here(path.parent) for path in modules() if not (path.parent / "__init__.py").is_file()]


def test_nobody_imports_mocks() -> None:
    found = [here(path) for path in tracked() if path.suffix == ".py" and imports_mock(path)]

    assert not found


def imports_mock(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        whole = {module, *names, *(f"{module}.{name}" for name in names)}
        if any(name == "unittest.mock" or name.startswith("unittest.mock.") for name in whole):
            return True
    return False


def test_no_file_names_a_package_registry() -> None:
    found = [
        f"{here(path)}: {match[0]}"
        for path in tracked()
        for match in REGISTRIES.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]

    assert not found


def test_no_file_names_a_path_of_this_machine() -> None:
    places = {ROOT, ROOT.parent, Path.home()} - _COMMON
    here_only = re.compile("|".join(rf"(?<![\w.$}}]){re.escape(str(place))}(?![\w-])" for place in sorted(places)))

    found = [
        f"{here(path)}: {match[0]}"
        for path in tracked()
        for match in here_only.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]

    assert not found
