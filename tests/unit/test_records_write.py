"""Rows out: a whole file or none, values of their column's kind, and nothing a spreadsheet would run."""

import csv
import datetime as dt
import io
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import OrchestrateError
from orchestrator.records.cells import Column
from orchestrator.records.read import open_records
from orchestrator.records.record import Good, RecordSpec
from orchestrator.records.write import write_rows

COLUMNS = (
    Column(name="key"),
    Column(name="score", kind="integer"),
    Column(name="seconds", kind="number"),
    Column(name="reply", kind="json"),
    Column(name="at", kind="time"),
)
NOON = dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
ROWS: list[Mapping[str, object]] = [
    {"key": 'é,\n"1"', "score": -5, "seconds": -0.5, "reply": {"a": ["=1"]}, "at": NOON, "more": "left out"},
    {"key": "2"},
]
ENDINGS = ["jsonl", "csv", "parquet"]


def csv_cells(folder: Path, value: object, column: Column) -> str:
    path = folder / "cells.csv"
    write_rows(path, [{column.name: value, "last": "x"}], [column, Column(name="last")], force=True)
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))[1][0]


def test_jsonl_holds_json_objects(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    assert write_rows(path, ROWS, COLUMNS) == 2

    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "key": 'é,\n"1"',
        "score": -5,
        "seconds": -0.5,
        "reply": {"a": ["=1"]},
        "at": "2024-02-29T10:00:00+00:00",
    }
    assert second == {"key": "2", "score": None, "seconds": None, "reply": None, "at": None}


def test_csv_holds_json_as_text(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    assert write_rows(path, ROWS, COLUMNS) == 2

    with path.open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [
            ["key", "score", "seconds", "reply", "at"],
            ['é,\n"1"', "-5", "-0.5", '{"a":["=1"]}', "2024-02-29T10:00:00+00:00"],
            ["2", "", "", "", ""],
        ]


def test_parquet_holds_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"

    assert write_rows(path, ROWS, COLUMNS) == 2

    table = pq.read_table(path)
    assert table.schema.types == [pa.string(), pa.int64(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")]
    assert table.column("reply").to_pylist() == ['{"a":["=1"]}', None]
    assert table.column("at").to_pylist() == [NOON, None]


@pytest.mark.parametrize("ending", ENDINGS)
def test_written_rows_are_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    rows = [{"key": f"k{number}", "text": f'line {number}\n\t"é", 😀'} for number in range(5_000)]

    count = write_rows(path, iter(rows), [Column(name="key"), Column(name="text")])

    found = list(open_records(path, RecordSpec(key="key", required=("text",))))
    assert count == 5_000
    assert [one.payload for one in found if isinstance(one, Good)] == rows


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows_make_valid_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"

    assert write_rows(path, [], COLUMNS) == 0
    assert path.exists()


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\tx", "\rx", " =1", "\n\u00a0=1"),
        *(
            "\uff1d1",
            "\uff0b1",
            "\uff0d1",
            "\uff201",
            "\ufe631",
            "\u22121",
            "\ufeff=1",
            "\u200b =1",
            "\x00=1",
            "'=1",
            "''-1",
        ),
    ],
)
def test_formula_gets_an_apostrophe(tmp_path: Path, text: str) -> None:
    cell = csv_cells(tmp_path, text, Column(name="text"))

    assert cell.startswith("'")
    assert cell.endswith(text[-1])


@pytest.mark.parametrize("text", ["a=1", "'a", "", "1-1", "(x)", "é", " x", "\nx"])
def test_plain_text_stays_as_is(tmp_path: Path, text: str) -> None:
    assert csv_cells(tmp_path, text, Column(name="text")) == text


def test_column_name_is_neutralised_too(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    write_rows(path, [], [Column(name="=cmd")])

    assert path.read_text() == "'=cmd\n"


def test_control_characters_are_made_visible(tmp_path: Path) -> None:
    text = "a\x1b[31m\x00\x9f\r\u202e\n\tb"

    assert csv_cells(tmp_path, text, Column(name="text")) == "a\\u001b[31m\\u0000\\u009f\\u000d\\u202e\n\tb"


def test_visible_json_keeps_its_value(tmp_path: Path) -> None:
    value = {"a": "\x1b\x7f\u202e\ud800"}

    cell = csv_cells(tmp_path, value, Column(name="reply", kind="json"))

    assert cell.isascii()
    assert "\x7f" not in cell
    assert json.loads(cell) == value


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_surrogates_are_written_escaped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"

    write_rows(path, [{"key": "a\ud800"}], [Column(name="key")])

    assert b"a\\ud800" in path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 1.0),
        ("integer", True),
        ("integer", 2**63),
        ("number", float("nan")),
        ("number", "1"),
        ("time", dt.datetime(2024, 1, 1)),  # noqa: DTZ001  # a time without a zone is the case
        ("time", "2024-01-01"),
        ("json", {"a": float("inf")}),
        ("json", {"a": object()}),
    ],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_value_of_other_kind_is_refused(tmp_path: Path, ending: str, kind: Any, value: object) -> None:
    with pytest.raises(OrchestrateError, match="the column 'it'"):
        write_rows(tmp_path / f"out.{ending}", [{"it": value}], [Column(name="it", kind=kind)])

    assert list(tmp_path.iterdir()) == []


def test_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("older")

    with pytest.raises(OrchestrateError, match="--force"):
        write_rows(path, ROWS, COLUMNS)
    assert path.read_text() == "older"

    write_rows(path, ROWS, COLUMNS, force=True)
    assert "older" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folder_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.mkdir()

    with pytest.raises(OrchestrateError, match="not a plain file"):
        write_rows(path, ROWS, COLUMNS, force=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_broken_off_write_leaves_nothing(tmp_path: Path, ending: str) -> None:
    def rows() -> Iterator[Mapping[str, object]]:
        yield {"key": "1"}
        raise KeyError

    with pytest.raises(KeyError):
        write_rows(tmp_path / f"out.{ending}", rows(), COLUMNS)

    assert list(tmp_path.iterdir()) == []


def test_unknown_ending_names_the_endings(tmp_path: Path) -> None:
    with pytest.raises(OrchestrateError, match=r"one of \.jsonl \.csv \.parquet"):
        write_rows(tmp_path / "out.xlsx", ROWS, COLUMNS)


def test_dash_writes_jsonl_to_stream() -> None:
    stream = io.StringIO()

    assert write_rows(Path("-"), [{"key": "é"}, {"key": "\ud800"}], [Column(name="key")], stdout=stream) == 2
    assert stream.getvalue() == '{"key":"é"}\n{"key":"\\ud800"}\n'
