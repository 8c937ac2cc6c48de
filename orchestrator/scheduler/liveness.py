"""Whether the process of a run is alive: it holds a lock on a file, and the system frees the lock when it dies.

Process numbers come again, and clocks jump; a lock does neither. So a run that was killed is found at once, and its
tasks go back without waiting for their leases.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from orchestrator.domain import RunId

_LOCK = re.compile(r"\.[^/\\\0]{1,200}\.run-[0-9a-f]{12}\.lock")


@contextmanager
def alive(database: Path) -> Iterator[str]:
    """Hold a new lock beside the database while the body runs; gives the lock file's name."""
    path = database.with_name(f".{database.name}.run-{uuid4().hex[:12]}.lock")
    try:
        with FileLock(path):
            yield path.name
    finally:
        path.unlink(missing_ok=True)


def speaking(database: Path) -> bool:
    """Whether any run on this database is alive."""
    return any(_held(path) for path in database.parent.glob(f".{database.name}.run-*.lock"))


def dry_lock(database: Path) -> FileLock:
    """The lock that a dry run holds, and that runs wait for: both change what an endpoint has loaded."""
    return FileLock(database.with_name(f".{database.name}.dry.lock"))


def dead(database: Path, running: Mapping[RunId, str]) -> list[RunId]:
    """Those of the runs whose lock nobody holds; no run holds one that is not called as locks are."""
    # The names come from the database: whoever damages or makes one may not choose which files are locked and deleted.
    named = {run: name for run, name in running.items() if name}
    return [run for run, name in named.items() if not (_LOCK.fullmatch(name) and _held(database.with_name(name)))]


def _held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return _held_unwritable(path)
    lock.release()
    with suppress(OSError):
        path.unlink()
    return False


def _held_unwritable(path: Path) -> bool:
    """The same where nobody can write: the lock is tried on a handle for reading. Unreadable, it counts as held."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
