"""Whatever the bytes: good, bad or refused, and each line that is not blank is accounted for."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.cells import Column
from orchestrator.records.read import open_records
from orchestrator.records.record import Bad, Good, RecordSpec
from orchestrator.records.write import write_rows
from tests.faults.fuzzing import leaves_line
from tests.faults.report import many

SPEC = RecordSpec(key="id", required=("text",))
LIMITS = Limits(longest_line=60, depth=4, longest_key=5, digits=6)
FUZZ = settings(
    max_examples=many(300, 20_000),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

_SHARDS = [b'{"id": "1", "text": "x"}', b'"id"', b'"text"', b"NaN", b"1e999", b"\\ud800", b"\\u0000", b"[", b"{", b"}"]
_MARKS = [b"\n", b"\r\n", b"\r", b"\t", b",", b'"', b'""', b" ", b":", b"\0", b"\xe9", b"\xef\xbb\xbf", b"x" * 70]
_CONTENT = st.lists(st.sampled_from(_SHARDS + _MARKS) | st.binary(max_size=4), max_size=40).map(b"".join)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


def read(name: str, content: bytes) -> list[Good | Bad] | None:
    """None where the whole file is refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            found = list(open_records(path, SPEC, LIMITS))
        except IntakeError:
            return None
    assert all(len(one.raw) <= 2_000 and one.what and one.mend for one in found if isinstance(one, Bad))
    return found


@leaves_line("JSONL")
@FUZZ
@given(_CONTENT | st.binary())
def test_jsonl_lines_are_all_accounted(content: bytes) -> None:
    found = read("records.jsonl", content)

    if found is not None:
        lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        filled = [number for number, line in enumerate(lines, start=1) if line.strip() or len(line) > 61]
        assert [one.line for one in found] == filled


@leaves_line("CSV with a header")
@FUZZ
@given(_CONTENT)
def test_csv_rows_are_good_or_bad(content: bytes) -> None:
    found = read("records.csv", b"id,text\n" + content)

    lines = [one.line for one in found or []]
    assert lines == sorted(set(lines))


@leaves_line("bytes as CSV")
@FUZZ
@given(st.binary())
def test_csv_of_any_bytes_is_safe(content: bytes) -> None:
    read("records.csv", content)
    read("records.tsv", content)


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["x", "y"], "n": [[1], []]}), out)
    return out.getvalue()


_PARQUET = _parquet()


@leaves_line("Parquet with flipped bytes")
@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(_PARQUET) - 1), st.integers(0, 255)), max_size=8), st.data())
def test_parquet_with_flipped_bytes_is_safe(flips: list[tuple[int, int]], chance: Any) -> None:
    content = bytearray(_PARQUET)
    for place, byte in flips:
        content[place] = byte

    read("records.parquet", bytes(content[: chance.draw(st.integers(0, len(content))) or None]))


@leaves_line("bytes as Parquet")
@FUZZ
@given(st.binary())
def test_parquet_of_any_bytes_is_safe(content: bytes) -> None:
    read("records.parquet", b"PAR1" + content + b"PAR1")


@FUZZ
@given(st.lists(_TEXT, min_size=1, max_size=5), st.sampled_from(["jsonl", "csv", "parquet"]))
def test_written_texts_are_read_back(texts: list[str], ending: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"out.{ending}")
        write_rows(path, [{"id": n, "text": text} for n, text in enumerate(texts)], [_ID, Column(name="text")])
        found = list(open_records(path, SPEC))

    for text, one in zip(texts, found, strict=True):
        if text.strip() and not (ending == "csv" and not text.isprintable()):
            assert isinstance(one, Good)
            assert one.payload["text"] in (text, f"'{text}" if ending == "csv" else text)


_ID = Column(name="id", kind="integer")
