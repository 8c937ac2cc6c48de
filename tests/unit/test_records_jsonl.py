"""JSONL: each line is good, or bad with its number, a reason and a remedy."""

import json
from pathlib import Path

import pytest

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.read import open_records
from orchestrator.records.record import Bad, Good, RecordSpec

SPEC = RecordSpec(key="id", required=("text",), optional=("note",))
GOOD = b'{"id": "1", "text": "x"}'


def read(folder: Path, content: bytes, limits: Limits | None = None) -> list[Good | Bad]:
    path = folder / "records.jsonl"
    path.write_bytes(content)
    return list(open_records(path, SPEC, limits or Limits()))


def only_bad(folder: Path, line: bytes, limits: Limits | None = None) -> Bad:
    (found,) = read(folder, line, limits)
    assert isinstance(found, Bad)
    return found


def test_record_keeps_all_its_fields(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b'{"id": 17, "text": "x", "more": [1, null], "note": null}\n')

    assert record == Good(line=1, key="17", payload={"id": 17, "text": "x", "more": [1, None], "note": None})


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD + b"\n",
        GOOD + b"\r\n",
        GOOD,
        GOOD + b"\n\n",
        GOOD + b"\r\n\r\n  \n",
    ],
    ids=["byte order mark", "CRLF", "no last line end", "blank last line", "blank CRLF lines"],
)
def test_harmless_variants_are_one_record(tmp_path: Path, content: bytes) -> None:
    assert [type(one) for one in read(tmp_path, content)] == [Good]


def test_blank_lines_count_in_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, b"\n" + GOOD + b"\n\n{\n")

    assert [(type(one), one.line) for one in found] == [(Good, 2), (Bad, 4)]


@pytest.mark.parametrize(
    ("line", "what", "mend"),
    [
        (b'{"id": "1"}', "the field 'text' is missing", "add the field"),
        (b'{"id": "1", "Text": "x"}', "the field 'text' is missing", "is 'Text' meant? Rename it"),
        (b'{"id": "1", "txet": "x"}', "the field 'text' is missing", "is 'txet' meant? Rename it"),
        (b'{"id": "1", "text": " "}', "the field 'text' is empty", "fill it in"),
        (b'{"id": "1", "text": []}', "the field 'text' is empty", "fill it in"),
        (b'{"id": "1", "text": null}', "the field 'text' is null", "fill it in"),
        (b'{"text": "x"}', "the field 'id' is missing; it is the record's key", "add the field"),
        (b'{"ID": "1", "text": "x"}', "the field 'id' is missing; it is the record's key", "is 'ID' meant?"),
        (b'{"id": "", "text": "x"}', "the field 'id' is empty; it is the record's key", "fill it in"),
        (b'{"id": true, "text": "x"}', "the key 'id' is neither text nor a whole number", "as text"),
        (b'{"id": 1.0, "text": "x"}', "the key 'id' is neither text nor a whole number", "as text"),
        (b'{"id": "a\\u001b", "text": "x"}', "the key 'id' holds the control character U+001B", "take"),
        (b'{"id": "a\\u202e", "text": "x"}', "the key 'id' holds the control character U+202E", "take"),
        (b'{"id": "1", "id": "2", "text": "x"}', "the field 'id' stands twice in one object", "keep one"),
        (b'{"id": "1", "text": NaN}', "NaN is not JSON at column 21", "write null"),
        (b'{"id": "1", "text": 1e999}', "1e999 is too large for a number at column 21", "as text"),
        (b'{"id": "1", "text": "\\u0000"}', "a NUL character in the text at column 21", "take"),
        (b'{"id": "1", "text": "\\udead"}', "half a surrogate pair (\\udead)", "take"),
        (b'"id"', "a JSON text at column 1", "write an object"),
    ],
)
def test_bad_line_says_what_and_mend(tmp_path: Path, line: bytes, what: str, mend: str) -> None:
    bad = only_bad(tmp_path, line)

    assert bad.line == 1
    assert bad.what.startswith(what)
    assert mend in bad.mend
    assert bad.raw == line.decode()


def test_wrong_byte_is_named_in_hex(tmp_path: Path) -> None:
    line = GOOD + b'\n{"id": "2", "text": "caf\xe9"}\n'

    good, bad = read(tmp_path, line)

    assert isinstance(good, Good)
    assert isinstance(bad, Bad)
    assert bad.what == "line 2 is not UTF-8: its byte 25 is 0xe9"
    assert "iconv -f latin1 -t utf-8" in bad.mend
    assert bad.raw == '{"id": "2", "text": "caf\\xe9"}'


def test_key_beyond_the_limit_is_bad(tmp_path: Path) -> None:
    at_limit = json.dumps({"id": "k" * 200, "text": "x"}).encode()
    beyond = json.dumps({"id": "k" * 201, "text": "x"}).encode()

    found = read(tmp_path, at_limit + b"\n" + beyond)

    assert [type(one) for one in found] == [Good, Bad]
    assert found[1].what == "the key 'id' has 201 characters; the limit is 200"  # type: ignore[union-attr]


def test_line_at_the_limit_is_good(tmp_path: Path) -> None:
    limits = Limits(longest_line=len(GOOD))

    for ending in (b"", b"\n", b"\r\n"):
        assert isinstance(read(tmp_path, GOOD + ending, limits)[0], Good)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_line_beyond_limit_tells_its_size(tmp_path: Path, ending: bytes) -> None:
    for beyond in (1, 2, 3, 70_000):
        line = b" " * beyond + GOOD
        bad = only_bad(tmp_path, line + ending, Limits(longest_line=len(GOOD)))

        assert bad.what == f"{len(line):,} bytes long; the limit is {len(GOOD):,}"


def test_lines_after_long_one_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, b"x" * 3_000_000 + b"\r\n" + GOOD + b"\n")

    assert [(type(one), one.line) for one in found] == [(Bad, 1), (Good, 2)]
    assert found[0].what == "3,000,000 bytes long; the limit is 1,048,576"  # type: ignore[union-attr]


def test_raw_keeps_2_000_characters(tmp_path: Path) -> None:
    assert only_bad(tmp_path, "é".encode() * 5_000).raw == "é" * 2_000
    assert only_bad(tmp_path, b"x" * 2_000_000).raw == "x" * 2_000


def test_json_array_is_refused_with_conversion(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match=r"one JSON array.*jq -c '\.\[\]'"):
        read(tmp_path, b'\xef\xbb\xbf\n  [\n  {"id": "1"}]\n')


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes((GOOD + b"\n") * 100_000)
    told: list[tuple[int, int]] = []

    list(open_records(path, SPEC, on_progress=lambda read, total: told.append((read, total))))

    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert len(told) == size // (1 << 20) + 1
