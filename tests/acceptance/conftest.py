"""A fresh folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.places import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = tmp_path / "place"
    home.mkdir()
    return Place(home)
