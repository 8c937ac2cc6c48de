"""Memory stays flat: a line of any length, a file of any number of records."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc"),
]

_MIB = 1 << 20

# The peak of a fresh interpreter, from its own high-water mark: ru_maxrss would begin with that of the process
# that started it. Reading starts after everything is imported.
_PEAK = """
import re, sys
from pathlib import Path
import pyarrow.parquet
from orchestrator.records.cells import Column
from orchestrator.records.check import check
from orchestrator.records.read import open_records
from orchestrator.records.record import Good, RecordSpec
from orchestrator.records.write import write_rows

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

SPEC = RecordSpec(key="id", required=("text",))
path = Path(sys.argv[1])
before = peak()
{work}
after = peak()
print(count, (after - before) * 1024)
"""
_READ = "count = sum(isinstance(one, Good) for one in open_records(path, SPEC))"
_CHECK = """
with check(path, SPEC, spool_dir=path.parent) as checked:
    count = sum(len(batch) for batch in checked.batches())
"""
_WRITE = """
rows = ({"id": str(number), "text": "x" * 500} for number in range(200_000))
count = write_rows(path, rows, [Column(name="id"), Column(name="text")])
"""


def peak(work: str, path: Path) -> tuple[int, int]:
    script = _PEAK.replace("{work}", work)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    count, size = done.stdout.split()
    return int(count), int(size)


def lines(count: int) -> Iterator[str]:
    return (json.dumps({"id": str(number), "text": "x" * 500}) + "\n" for number in range(count))


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_line_of_50_mb_stays_small(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records.{ending}"
    with path.open("w") as stream:
        stream.write("id,text\n" if ending == "csv" else "\n")
        stream.write("x" * 50_000_000 + "\n")
        stream.write("1,x\n" if ending == "csv" else '{"id": "1", "text": "x"}\n')

    count, size = peak(_READ, path)

    assert count == 1
    assert size < 16 * _MIB


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_line_of_1_gib_stays_small(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records.{ending}"
    with path.open("wb") as stream:
        stream.write(b'id,text\n1,"' if ending == "csv" else b'{"id": "1", "text": "')
        # The middle is a hole: it takes no room on the disk, and reads as a thousand million characters.
        stream.seek(1 << 30)
        stream.write(b'"\n2,x\n' if ending == "csv" else b'"}\n{"id": "2", "text": "x"}\n')

    count, size = peak(_READ, path)

    assert count == 1
    assert size < 64 * _MIB


def test_check_of_100_mb_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("w") as stream:
        stream.writelines(lines(200_000))

    count, size = peak(_CHECK, path)

    assert count == 200_000
    assert size < 48 * _MIB


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_written_100_mb_are_read_small(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records.{ending}"

    written, writing = peak(_WRITE, path)
    read, reading = peak(_READ, path)

    assert written == read == 200_000
    assert writing < 64 * _MIB
    assert reading < 64 * _MIB


def test_unclosed_quote_over_blank_lines_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    path.write_text('id,text\n1,"' + "\n" * 1_000_000 + "2,x\n")

    count, size = peak(_READ, path)

    assert count == 1
    assert size < 32 * _MIB
