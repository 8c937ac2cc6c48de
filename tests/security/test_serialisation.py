"""Nothing here makes objects out of stored bytes: JSON and TOML are read, and LangGraph is held to its own types."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("orchestrator", "migrations", "scripts", "benchmarks", "tests")
BANNED = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "dbm", "copyreg"),
    *("yaml", "ruamel", "jsonpickle", "msgpack", "ormsgpack", "langchain_core.load", "langchain.load"),
    *("langgraph.checkpoint", "langgraph.store", "torch", "numpy.load", "pandas"),
}
CALLS = {"eval", "exec", "compile", "__import__"}
_STRICT = """
from langgraph.checkpoint.serde import _msgpack
print(_msgpack.STRICT_MSGPACK_ENABLED)
"""


def modules() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every name that is imported, whole: a module, and what is taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_banned(name: str) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in BANNED for length in range(1, len(parts) + 1))


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def test_nobody_imports_what_revives_objects() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules()}

    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees.items()
        for name in imported(tree)
        if is_banned(name)
    ]

    assert len(trees) > 100
    assert not found


def test_nobody_runs_text_as_code() -> None:
    product = [path for path in modules() if path.relative_to(ROOT).parts[0] in ("orchestrator", "migrations")]

    found = {path.name: set(called(ast.parse(path.read_text(encoding="utf-8")))) & CALLS for path in product}

    assert not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from marshal import loads", "import yaml as y", "from langchain_core import load",
     "from langchain_core.load import dumps", "def f():\n    import shelve", "import langgraph.checkpoint.sqlite"],
)  # fmt: skip
def test_banned_imports_are_seen(text: str) -> None:
    assert any(is_banned(name) for name in imported(ast.parse(text)))


@pytest.mark.parametrize("text", ["import json", "from langchain_core import load_tools", "import tomllib, picklejar"])
def test_other_imports_pass(text: str) -> None:
    assert not any(is_banned(name) for name in imported(ast.parse(text)))


@pytest.mark.parametrize("imports", ["import orchestrator.debate.graph", "from orchestrator.app import running"])
@pytest.mark.parametrize("setting", [None, "false"])
def test_langgraph_is_strict_whatever_is_set(imports: str, setting: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LANGGRAPH_STRICT_MSGPACK"}
    if setting:
        environment["LANGGRAPH_STRICT_MSGPACK"] = setting

    done = subprocess.run(
        [sys.executable, "-c", f"{imports}\n{_STRICT}"], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "True\n"
