"""No dependency is older than the version that mended its last known hole: what we ask for, and what is locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FLOORS: dict[str, dict[str, str]] = tomllib.loads((Path(__file__).with_name("floors.toml")).read_text("utf-8"))
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)


def asked() -> dict[str, Requirement]:
    """What pyproject.toml asks for, for users and for the tests, by name."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    texts = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    texts += [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    return {canonicalize_name(one.name): one for one in map(Requirement, texts)}


def locked() -> list[tuple[str, Version]]:
    """Every pin of the lock; a name may be pinned once for each Python."""
    pins = _LOCKED.findall((ROOT / "requirements.lock").read_text("utf-8"))
    return [(canonicalize_name(name), Version(version)) for name, version in pins]


def least(requirement: Requirement) -> Version | None:
    """The oldest version that a requirement takes; None if it has no lower bound."""
    bounds = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


@pytest.mark.parametrize("name", FLOORS)
def test_lock_is_above_the_floor(name: str) -> None:
    versions = [version for locked_name, version in locked() if locked_name == name]

    assert versions, f"{name} is not locked any more: take it out of floors.toml"
    assert min(versions) >= Version(FLOORS[name]["floor"])


@pytest.mark.parametrize("name", sorted(FLOORS.keys() & asked().keys()))
def test_project_asks_for_no_less_than_the_floor(name: str) -> None:
    bound = least(asked()[name])

    assert bound is not None
    assert bound >= Version(FLOORS[name]["floor"])


def test_every_requirement_has_a_lower_bound() -> None:
    assert [name for name, requirement in asked().items() if least(requirement) is None] == []


def test_every_pin_has_its_hashes() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9._-]+==)", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.M)[1:]

    assert len(blocks) == len(locked()) > 80
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize(
    ("text", "expected"), [("a>=1.5,<2", "1.5"), ("a==3", "3"), ("a>=1,>=2,!=2.1", "2"), ("a", None), ("a<2", None)]
)
def test_lower_bound_is_read(text: str, expected: str | None) -> None:
    assert least(Requirement(text)) == (Version(expected) if expected else None)
