"""A file that is no file of records is refused as a whole, with what to do instead."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import IntakeError
from orchestrator.records.read import open_records
from orchestrator.records.record import RecordSpec

SPEC = RecordSpec(key="id", required=("text",))


def refusal(path: Path) -> str:
    with pytest.raises(IntakeError) as refused:
        list(open_records(path, SPEC))
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["records.txt", "records", "records.jsonl.gz", "records.json"])
def test_unknown_ending_names_the_endings(tmp_path: Path, name: str) -> None:
    assert "one of .jsonl .ndjson .csv .tsv .parquet" in refusal(tmp_path / name)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_missing_file_is_refused_at_once(tmp_path: Path, ending: str) -> None:
    with pytest.raises(IntakeError, match="does not exist: check the path"):
        open_records(tmp_path / f"no.{ending}", SPEC)


def test_folder_is_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "records.csv"
    folder.mkdir()

    with pytest.raises(IntakeError, match="is a folder"):
        open_records(folder, SPEC)


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "csv", "tsv", "parquet"])
def test_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records.{ending}"
    path.touch()

    assert "is empty" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("records.jsonl", b"\xef\xbb\xbf", "is empty"),
        ("records.csv", b"\xef\xbb\xbf", "is empty"),
        ("records.jsonl", b"\n \r\n", "only blank lines"),
        ("records.csv", b"\n\r\n", "only blank lines"),
        ("records.csv", b"id,text\n", "a header and no rows"),
        ("records.tsv", b"\xef\xbb\xbfid\ttext\r\n\r\n", "a header and no rows"),
        ("records.jsonl", gzip.compress(b"{}", mtime=0), "gunzip"),
        ("records.csv", gzip.compress(b"id,text", mtime=0), "gunzip"),
        ("records.csv", b"PK\x03\x04...", "save it as CSV"),
        ("records.jsonl", b"PAR1....PAR1", "end in .parquet"),
        ("records.jsonl", "{}".encode("utf-16"), "iconv -f utf-16"),
        ("records.parquet", b"PAR1....PAR1", "cannot be read as Parquet"),
        ("records.parquet", b'{"id": "1"}', "cannot be read as Parquet"),
    ],
)
def test_wrong_content_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert said in refusal(path)


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), path)

    assert "columns and no rows" in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("{}")
    path.chmod(0)

    assert "cannot be read" in refusal(path)


def test_ending_in_capitals_is_known(tmp_path: Path) -> None:
    path = tmp_path / "RECORDS.CSV"
    path.write_text("id,text\n1,x\n")

    assert len(list(open_records(path, SPEC))) == 1
