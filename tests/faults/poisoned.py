"""A run as a program of its own, which one record kills: `python -m tests.faults.poisoned HOME KEY killed|memory`."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path

from orchestrator.app.workplace import open_workplace
from orchestrator.domain import Claim
from orchestrator.ports import RunStart
from orchestrator.scheduler.liveness import alive, dead
from tests.integration.places import run_here
from tests.store_rows import at

_ADDRESSES = 4 * 2**30  # bytes this process may have
_TOO_MUCH = 8 * 2**30


def main(home: Path, key: str, how: str) -> None:
    """Debate what is pending; at the poisonous record this process dies, or asks for more memory than there is."""

    def swallow(claim: Claim, *_: object) -> None:
        if claim.key != key:
            return
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        bytearray(_TOO_MUCH)

    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    place = open_workplace(home, {})
    database = place.config.database
    with alive(database) as lock:
        start = RunStart(host="here", pid=os.getpid(), lock=lock, max_workers=0, started_at=at(0))
        asyncio.run(run_here(place, watch=swallow, start=start, dead=partial(dead, database)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
