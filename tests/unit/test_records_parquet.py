"""Parquet: a row becomes the JSON that JSONL would have held, or is refused with its column."""

import datetime as dt
import decimal
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.read import open_records
from orchestrator.records.record import Bad, Good, RecordSpec

SPEC = RecordSpec(key="id", required=("text",))


def read(folder: Path, limits: Limits | None = None, **columns: Any) -> list[Good | Bad]:
    path = folder / "records.parquet"
    pq.write_table(pa.table(columns), path)
    return list(open_records(path, SPEC, limits or Limits()))


def read_value(folder: Path, values: Any) -> Any:
    (found,) = read(folder, id=["1"], text=["x"], value=values)
    return found.payload["value"] if isinstance(found, Good) else found


_NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 5)  # noqa: DTZ001  # Parquet may hold times without a zone


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7]), 7),
        (pa.array([True]), True),
        (pa.array([0.5]), 0.5),
        (pa.array([dt.date(2024, 2, 29)]), "2024-02-29"),
        (pa.array([dt.time(1, 2)]), "01:02:00"),
        (pa.array([_NOON]), "2024-02-29T12:00:00.000005+00:00"),
        (pa.array([0], pa.timestamp("s")), "1970-01-01T00:00:00+00:00"),
        (pa.array([1_500], pa.timestamp("ms", tz="Asia/Tokyo")), "1970-01-01T00:00:01.500+00:00"),
        (pa.array([-1], pa.timestamp("ns")), "1969-12-31T23:59:59.999999999+00:00"),
        (pa.array([decimal.Decimal("1.50")]), "1.50"),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), "00000000-0000-0000-0000-000000000001"),
        (pa.array([[1, None]]), [1, None]),
        (pa.array([{"a": {"b": [dt.date(2024, 1, 1)]}}]), {"a": {"b": ["2024-01-01"]}}),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [["k", 1]]),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([[_NOON]]), ["2024-02-29T12:00:00.000005+00:00"]),
    ],
)
def test_value_becomes_plain_json(tmp_path: Path, values: Any, expected: object) -> None:
    assert read_value(tmp_path, values) == expected


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (pa.array([b"raw"]), "the column 'value': it holds bytes"),
        (pa.array([float("nan")]), "the column 'value': nan is not a number that JSON has"),
        (pa.array([[float("inf")]]), "the column 'value': inf is not a number that JSON has"),
        (pa.array(["a\0b"]), "the column 'value': it holds a NUL character"),
        (pa.array([dt.timedelta(1)]), "the column 'value': it holds a timedelta, which JSON has not"),
        (pa.array([2**62], pa.timestamp("us")), "the column 'value': its time is outside the years 1 to 9999"),
        (pa.array([2**30], pa.date32()), "the column 'value': its value cannot be read"),
    ],
)
def test_value_without_json_is_bad(tmp_path: Path, values: Any, what: str) -> None:
    bad = read_value(tmp_path, values)

    assert isinstance(bad, Bad)
    assert bad.what.startswith(what)
    assert bad.mend
    assert bad.raw == '{"id": "1", "text": "x"}'


def test_null_optional_values_are_dropped(tmp_path: Path) -> None:
    found = read(tmp_path, id=[1, 2], text=["x", None], note=[None, "n"])

    assert found[0] == Good(line=1, key="1", payload={"id": 1, "text": "x"})
    assert isinstance(found[1], Bad)
    assert found[1].what == "the field 'text' is null"


def test_rows_are_numbered_over_batches(tmp_path: Path) -> None:
    ids = [str(number) for number in range(1_000)]
    texts = ["x"] * 999 + [""]

    found = read(tmp_path, id=ids, text=texts)

    assert [one.line for one in found] == list(range(1, 1_001))
    assert [one.line for one in found if isinstance(one, Bad)] == [1_000]


def test_float_or_null_key_is_bad(tmp_path: Path) -> None:
    found = read(tmp_path, id=pa.array([1.0, None]), text=["x", "y"])

    assert [one.what for one in found if isinstance(one, Bad)] == [
        "the key 'id' is neither text nor a whole number",
        "the field 'id' is null; it is the record's key",
    ]


def test_row_beyond_the_limit_is_bad(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, Limits(longest_line=1_000), id=["1"], text=["x" * 2_000])

    assert isinstance(bad, Bad)
    assert "the limit is 1,000" in bad.what


def test_nesting_beyond_the_limit_is_bad(tmp_path: Path) -> None:
    value: object = 1
    for _ in range(4):
        value = [value]

    (bad,) = read(tmp_path, Limits(depth=4), id=["1"], text=["x"], value=[value])

    assert isinstance(bad, Bad)
    assert "nested deeper than 4 levels" in bad.what


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["1"], "txet": ["x"]}, "the column 'text' is missing: is 'txet' meant"),
        ({"text": ["x"]}, "the column 'id' is missing: add the column"),
    ],
)
def test_missing_column_refuses_the_file(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(IntakeError) as refused:
        read(tmp_path, **columns)

    assert said in str(refused.value)


def test_repeated_column_refuses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["x"]), pa.array(["y"])], names=["id", "text", "text"])
    pq.write_table(table, path)

    with pytest.raises(IntakeError, match="'text' stands there twice"):
        list(open_records(path, SPEC))


def test_text_that_is_not_utf8_is_bad(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())

    bad = read_value(tmp_path, wrong)

    assert isinstance(bad, Bad)
    assert "cannot be read" in bad.what


def test_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": ["x"]}), path)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(IntakeError, match="cannot be read as Parquet"):
        list(open_records(path, SPEC))


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["x", "y"]}), path)
    told: list[tuple[int, int]] = []

    list(open_records(path, SPEC, on_progress=lambda read, total: told.append((read, total))))

    assert told[-1] == (path.stat().st_size, path.stat().st_size)
