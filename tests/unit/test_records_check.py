"""The whole file is known before any of it is stored: counts, repeated keys, and the good records in order."""

import json
import stat
from pathlib import Path

import pytest

from orchestrator.domain import JobDraft
from orchestrator.errors import IntakeError, OrchestrateError
from orchestrator.records.bad_file import write_bad_rows
from orchestrator.records.check import check
from orchestrator.records.record import Bad, RecordSpec

SPEC = RecordSpec(key="id", required=("text",))


def jsonl(folder: Path, *records: object) -> Path:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def test_good_records_come_in_order(tmp_path: Path) -> None:
    records = [{"id": f"{900 - number}", "text": "é", "n": 1.5} for number in range(25)]
    path = jsonl(tmp_path, *records)

    with check(path, SPEC) as checked:
        batches = list(checked.batches(size=10))

    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [draft for batch in batches for draft in batch] == [
        JobDraft(key=str(one["id"]), payload=one) for one in records
    ]


def test_batches_may_be_read_twice(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "1", "text": "x"})

    with check(path, SPEC) as checked:
        assert list(checked.batches()) == list(checked.batches())


def test_repeated_key_names_first_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": 7, "text": "x"}, {"id": "8", "text": "y"}, {"id": "7", "text": "z"})

    with check(path, SPEC) as checked:
        assert (checked.good, checked.bad_count) == (2, 1)
        assert checked.bad == [
            Bad(
                line=3,
                what="the key '7' stands already in line 1",
                mend="give it a key of its own, or remove one of the two",
                raw='{"id":"7","text":"z"}',
            )
        ]


def test_bad_list_ends_at_1_000(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *[{"id": "1"}] * 1_500, {"id": "1", "text": "x"})

    with check(path, SPEC) as checked:
        assert (checked.good, checked.bad_count, len(checked.bad)) == (1, 1_500, 1_000)
        assert [row.line for row in checked.bad_rows()] == list(range(1, 1_501))


def test_spool_is_private_and_deleted(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "1", "text": "x"})
    spools = tmp_path / "spools"
    spools.mkdir()

    with check(path, SPEC, spool_dir=spools):
        (spool,) = spools.rglob("*.db")
        assert stat.S_IMODE(spool.stat().st_mode) == 0o600

    assert list(spools.iterdir()) == []


def test_spool_is_deleted_after_refusal(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    path.write_text("id,text\n")
    spools = tmp_path / "spools"
    spools.mkdir()

    with pytest.raises(IntakeError, match="no rows"), check(path, SPEC, spool_dir=spools):
        pass

    assert list(spools.iterdir()) == []


def test_missing_spool_folder_is_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "1", "text": "x"})

    with (
        pytest.raises(IntakeError, match="cannot write its spool"),
        check(path, SPEC, spool_dir=tmp_path / "no"),
    ):
        pass


def test_errors_inside_block_pass_through(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "1", "text": "x"})

    with pytest.raises(KeyError), check(path, SPEC):
        raise KeyError


def test_progress_reaches_the_file_size(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "1", "text": "x"})
    told: list[tuple[int, int]] = []

    with check(path, SPEC, on_progress=lambda read, total: told.append((read, total))):
        assert told == [(path.stat().st_size, path.stat().st_size)]


def test_bad_rows_are_written_as_jsonl(tmp_path: Path) -> None:
    source = jsonl(tmp_path, {"id": "1"}, {"id": "2", "text": "x"}, {"text": "é"})
    target = tmp_path / "records.bad.jsonl"
    target.write_text("older")

    with check(source, SPEC) as checked:
        count = write_bad_rows(target, checked.bad_rows())

    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert count == 2
    assert [list(row) for row in rows] == [["line", "what", "mend", "raw"]] * 2
    assert [(row["line"], row["raw"]) for row in rows] == [(1, '{"id": "1"}'), (3, '{"text": "\\u00e9"}')]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_interrupted_bad_file_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "records.bad.jsonl"
    target.write_text("older")

    with pytest.raises(ZeroDivisionError):
        write_bad_rows(target, (Bad(line=1 // 0, what="", mend="", raw="") for _ in "x"))

    assert [one.name for one in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "older"


def test_bad_file_in_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OrchestrateError, match="cannot be written"):
        write_bad_rows(tmp_path / "no" / "bad.jsonl", [])
