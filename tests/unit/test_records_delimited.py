"""CSV and TSV: the header is checked first, rows may span lines, and one bad row never swallows another."""

from pathlib import Path

import pytest

from orchestrator.errors import IntakeError
from orchestrator.limits import Limits
from orchestrator.records.read import open_records
from orchestrator.records.record import Bad, Good, RecordSpec

SPEC = RecordSpec(key="id", required=("text",), optional=("note",))


def read(folder: Path, content: bytes, limits: Limits | None = None, name: str = "records.csv") -> list[Good | Bad]:
    path = folder / name
    path.write_bytes(content)
    return list(open_records(path, SPEC, limits or Limits()))


def verdicts(found: list[Good | Bad]) -> list[tuple[int, str]]:
    return [(one.line, one.key if isinstance(one, Good) else one.what) for one in found]


@pytest.mark.parametrize(
    "content",
    [
        b"id,text,note\n1,x,\n",
        b"\xef\xbb\xbfid,text,note\n1,x,\n",
        b"id,text,note\r\n1,x,\r\n",
        b"id,text,note\n1,x,",
        b"id, text ,note\n\n1,x, \n\n",
        b'"id","text","note"\n"1","x",""\n',
    ],
    ids=["plain", "byte order mark", "CRLF", "no last line end", "blanks", "quoted"],
)
def test_empty_optional_cell_is_dropped(tmp_path: Path, content: bytes) -> None:
    (record,) = read(tmp_path, content)

    assert isinstance(record, Good)
    assert record.payload == {"id": "1", "text": "x"}


def test_tabs_separate_cells_in_tsv(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b"id\ttext\n01\ta,b\n", name="records.tsv")

    assert record == Good(line=2, key="01", payload={"id": "01", "text": "a,b"})


def test_all_values_are_texts(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b"id,text,n\n1,2,3.5\n")

    assert isinstance(record, Good)
    assert record.payload == {"id": "1", "text": "2", "n": "3.5"}


def test_quoted_cell_may_span_lines(tmp_path: Path) -> None:
    content = b'id,text\r\n1,"a ""b""\r\n\r\nc"\r\n2,d\r\n3\r\n'

    found = read(tmp_path, content)

    assert [one.line for one in found] == [2, 5, 6]
    assert found[0] == Good(line=2, key="1", payload={"id": "1", "text": 'a "b"\r\n\r\nc'})
    assert isinstance(found[2], Bad)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"id,note", "the column 'text' is missing: add the column"),
        (b"id,txet", "the column 'text' is missing: is 'txet' meant"),
        (b"ID,text", "the column 'id' is missing: is 'ID' meant"),
        (b"id,text,note,note", "the column 'note' stands there twice"),
        (b",id,text", "column 1 has no name: name it, or take it out (pandas"),
        (b"id;text", "not separated as the ending says: use , in .csv"),
        (b"id,t\xe9xt", "line 1 is not UTF-8: its byte 5 is 0xe9"),
        (b'id,"text', "a quote is opened and never closed"),
    ],
)
def test_wrong_header_refuses_the_file(tmp_path: Path, header: bytes, said: str) -> None:
    with pytest.raises(IntakeError) as refused:
        read(tmp_path, header + b"\n1,x\n")

    assert said in str(refused.value)


def test_ragged_rows_count_their_cells(tmp_path: Path) -> None:
    found = read(tmp_path, b"id,text\n1\n2,a,b\n3,c\n")

    assert verdicts(found) == [
        (2, "1 cells, but the header has 2 columns"),
        (3, "3 cells, but the header has 2 columns"),
        (4, "3"),
    ]
    assert found[1] == Bad(line=3, what=found[1].what, mend=found[1].mend, raw="2,a,b")  # type: ignore[union-attr]


def test_unclosed_quote_costs_one_row(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n1,"a\n2,b\n3,c\n')

    assert verdicts(found) == [(2, "a quote is opened and never closed"), (3, "2"), (4, "3")]


def test_unclosed_quote_before_quoted_row_is_found(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n1,"a\n2,"b"\n3,c\n')

    assert verdicts(found) == [
        (2, "a quote is opened and not closed, or text follows a closing quote"),
        (3, "2"),
        (4, "3"),
    ]


def test_unclosed_quote_ends_at_the_limit(tmp_path: Path) -> None:
    rows = b"".join(b"%d,b\n" % number for number in range(2, 1_000))

    found = read(tmp_path, b'id,text\n1,"a\n' + rows, Limits(longest_line=100))

    assert [type(one) for one in found] == [Bad] + [Good] * 998


def test_many_unclosed_quotes_refuse_the_file(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match="quotes that do not match"):
        read(tmp_path, b"id,text\n" + b'1,x","\n' * 1_000, Limits(longest_line=100))


def test_row_beyond_the_limit_is_bad(tmp_path: Path) -> None:
    long = b"1," + b"x" * 200
    spread = b'2,"' + (b"x" * 40 + b"\n") * 4 + b'"'

    found = read(tmp_path, b"id,text\n" + long + b"\n3,c\n" + spread + b"\n", Limits(longest_line=100))

    assert found[0].what == "202 bytes long; the limit is 100"  # type: ignore[union-attr]
    assert [type(one) for one in found[:3]] == [Bad, Good, Bad]
    assert not any(isinstance(one, Good) for one in found[2:])


def test_last_line_beyond_limit_is_bad(tmp_path: Path) -> None:
    row = b'1,"' + b"x" * 60 + b"\n" + b"x" * 60 + b'"\n'

    found = read(tmp_path, b"id,text\n" + row + b"2,b\n", Limits(longest_line=100))

    assert verdicts(found) == [(2, "124 bytes long; the limit is 100"), (4, "2")]


def test_cell_of_megabyte_is_read(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b"id,text\n1," + b"x" * 1_000_000 + b"\n")

    assert isinstance(record, Good)


def test_wrong_byte_spoils_its_row_only(tmp_path: Path) -> None:
    found = read(tmp_path, b'id,text\n1,"a\ncaf\xe9"\n2,b\n')

    assert verdicts(found) == [(2, "line 3 is not UTF-8: its byte 4 is 0xe9"), (4, "2")]
    assert found[0].raw == '1,"a\ncaf\\xe9"'  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (b",x", "the field 'id' is empty; it is the record's key"),
        (b"1, ", "the field 'text' is empty"),
        (b"1,a\x00b", "a NUL character in the column 'text'"),
        (b"1,a\rb", "a carriage return stands outside quotes"),
        (b'"a\x1b",x', "the key 'id' holds the control character U+001B"),
        (b"k" * 201 + b",x", "the key 'id' has 201 characters; the limit is 200"),
    ],
)
def test_bad_row_says_what(tmp_path: Path, row: bytes, what: str) -> None:
    assert verdicts(read(tmp_path, b"id,text\n" + row + b"\n2,b\n")) == [(2, what), (3, "2")]
