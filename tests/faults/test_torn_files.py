"""Bytes of the database are torn off or flipped: what is read is a clean state of before, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from orchestrator.errors import StoreError
from orchestrator.store import schema
from orchestrator.store.tasks import SqlTaskStore
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.disk import SECTOR, Platter
from tests.faults.nights import DATABASE, Night, contents, recorded, rows, written
from tests.faults.report import many
from tests.store_rows import MIGRATIONS

POINTS = many(200, 5_000)
WAL = f"{DATABASE}-wal"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return recorded(tmp_path_factory.mktemp("torn") / "night", synchronous="FULL", records=20)


def moments(night: Night) -> list[int]:
    """The commits of the longest stretch in which the WAL grew, and nothing moved from it into the database file."""
    stretches: list[list[int]] = [[]]
    grown = False
    for number, op in enumerate(night.ops, start=1):
        if op.file == DATABASE and op.kind == "write":
            stretches.append([])
            grown = False
        elif op.remark == "commit" and grown:
            stretches[-1].append(number)
        grown = grown or (op.file == WAL and op.kind == "write")
    return max(stretches, key=len)


def states_of(night: Night, chosen: list[int]) -> Iterator[dict[str, bytes]]:
    """The files as they were at each of these moments, which are in order."""
    platter, wanted = Platter(night.before), list(chosen)
    for number, op in enumerate(night.ops, start=1):
        platter.take(op)
        while wanted and wanted[0] == number:
            wanted.pop(0)
            yield platter.as_written()


def newest(night: Night, moment: int) -> int:
    """When what was there at a moment had come about."""
    return max(number for number in night.states.values() if number <= moment)


def torn_off(content: bytes, chance: Random) -> bytes:
    return content[: chance.randrange(len(content))]


def flipped(content: bytes, chance: Random) -> bytes:
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 8))):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def zeroed(content: bytes, chance: Random) -> bytes:
    start = chance.randrange(0, len(content), SECTOR)
    return content[:start] + bytes(SECTOR) + content[start + SECTOR :]


def swapped(content: bytes, chance: Random) -> bytes:
    one, other = (chance.randrange(0, len(content) - SECTOR, SECTOR) for _ in range(2))
    found = bytearray(content)
    found[one : one + SECTOR], found[other : other + SECTOR] = (
        content[other : other + SECTOR],
        content[one : one + SECTOR],
    )
    return bytes(found)


HARMS: tuple[Callable[[bytes, Random], bytes], ...] = (torn_off, flipped, zeroed, swapped)


def refused(path: Path) -> bool:
    """Whether the program says in words what is wrong with this file; where it finds nothing, all tasks can be read."""
    try:
        if schema.check(path, MIGRATIONS).current is None or schema.problems(path):
            return True
        with closing(SqlTaskStore(path)) as store:
            list(store.tasks())
    except StoreError:
        return True
    return False


def test_torn_wal_gives_a_clean_prefix(night: Night, tmp_path: Path) -> None:
    chance, audit, clean, shortened = Random(report.SEED), Audit(), 0, 0
    chosen = sorted(chance.choices(moments(night), k=POINTS))

    for moment, files in zip(chosen, states_of(night, chosen), strict=True):
        harmed = chance.choice(HARMS)(files[WAL], chance)
        path = written(tmp_path / "torn", files | {WAL: harmed})
        found = night.states.get(contents(path))
        whole = found is not None and found <= moment and not audit.breaches(path, night.folder)
        clean += whole or refused(path)
        shortened += found is not None and found < newest(night, moment)
    report.line("F4 torn or flipped WAL", POINTS, clean, 0, 0, 0, 0, audit.verified)

    assert clean == POINTS
    assert shortened > POINTS // 4, "harm that nobody notices proves nothing"


def test_flipped_database_file_is_refused_or_whole(night: Night, tmp_path: Path) -> None:
    chance, audit, safe, seen = Random(report.SEED), Audit(), 0, 0
    (last,) = states_of(night, [len(night.ops)])
    named = "SELECT key, status, next_role FROM tasks JOIN jobs ON jobs.id = tasks.job_id ORDER BY tasks.id"
    usual = rows(written(tmp_path / "whole", last), named)

    for _ in range(POINTS):
        path = written(tmp_path / "flipped", last | {DATABASE: flipped(last[DATABASE], chance)})
        if refused(path):
            seen += 1
            safe += 1
        else:
            # What was said may have changed, and only `db verify` may see it: it names it, or refuses in words.
            with suppress(StoreError):
                audit.breaches(path, night.folder)
            safe += rows(path, named) == usual
    report.line("F4 flipped bytes in the file: refused, or tasks as before", POINTS, safe, 0, 0, 0, 0, audit.verified)

    assert safe == POINTS
    assert seen > 0, "a check that sees nothing proves nothing"
