"""What the fault suite found stands in the documents as it was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import fault_report
from scripts.fault_report import BEGIN, END, Line, headline, printed, read, take, written
from tests.faults import report


def found(name: str, length: str = "short", points: int = 10, **changes: int) -> Line:
    usual = {"seed": 1, "survived": points, "lost": 0, "doubled": 0, "repeated": 5, "most": 2, "verified": 4}
    return Line(name=name, length=length, points=points, **usual | changes)


def test_pages_say_what_was_kept() -> None:
    assert not fault_report.stale(read(fault_report.KEPT)), "run python -m scripts.fault_report"


def test_suite_and_pages_speak_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULT_REPORT", str(tmp_path / "some" / "faults.jsonl"))
    monkeypatch.setattr(report, "LONG", False)

    report.line("F2 random", 9, 9, 0, 0, 1, 1, 9)
    report.line("F10 later", 3, 3, 0, 0, 0, 0, 4, seed=7)
    report.line("F2 random", 10, 9, 1, 2, 5, 3, 4)

    assert read(tmp_path / "some" / "faults.jsonl") == [
        found("F2 random", survived=9, lost=1, doubled=2, most=3, seed=report.SEED),
        found("F10 later", points=3, repeated=0, most=0, seed=7),
    ]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"F2 random [short, seed {report.SEED}]: 10 points, 9 survived, 1 lost, 2 doubled, 5 repeated, "
        "at most 3 after one fault, 4 verified"
    )


def test_new_suite_replaces_one_of_its_length() -> None:
    kept = [found("F1 old name"), found("F1 steps", "long")]

    assert take([found("F1 steps", points=7)], kept) == [found("F1 steps", points=7), found("F1 steps", "long")]


def test_headline_adds_up_the_longest_suites() -> None:
    lines = [
        found("F1 steps", points=100, most=1),
        found("F2 random", "long", points=5000, most=4, lost=2),
        found("F2 random", points=200, lost=9, most=9),
        found("F9 frozen", points=5, doubled=1, most=3),
        found("F3 power cut, synchronous NORMAL", points=60, lost=9, most=99),
    ]

    said = headline(lines)

    assert "each of 100 steps, and 5,105 faults" in said
    assert "**2 turns lost, 1 doubled**, at most 4 calls" in said
    assert "looked over 12 databases" in said


def test_printed_table_has_aligned_columns() -> None:
    rows = printed([found("F1 steps"), found("F2 at random times", points=5000)]).splitlines()

    assert rows[2].startswith("F2 at random times  short     1   5,000     5,000     0        0         5        2")
    assert len({len(row) for row in rows[:3]}) == 1
    assert rows[-1].startswith("Killed at each of 10 steps, and 5,010 faults")


def test_text_stands_between_markers() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert written(page, "a \\1 new") == f"before\n{BEGIN}\na \\1 new\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        written("nothing", "new")


@pytest.mark.parametrize("check", [True, False])
def test_check_only_names_stale_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    page, new = tmp_path / "page.md", tmp_path / "new.jsonl"
    page.write_text(f"{BEGIN}\nold\n{END}\n")
    new.write_text(json.dumps({name: getattr(found("F1 steps"), name) for name in Line.__slots__}) + "\n")
    monkeypatch.setattr(fault_report, "ROOT", tmp_path)
    monkeypatch.setattr(fault_report, "KEPT", tmp_path / "kept.jsonl")
    monkeypatch.setattr(fault_report, "PAGES", {page: fault_report.table})
    monkeypatch.setattr("sys.argv", ["fault_report", "--take", str(new), *(["--check"] if check else [])])

    code = fault_report.main()

    assert code == int(check)
    assert ("| F1 steps | short | 1 | 10 |" in page.read_text()) is not check
    assert ("stale: page.md" in capsys.readouterr().err) is check
