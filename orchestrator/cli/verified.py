"""How a verified database is shown: each broken promise with its task, and what it means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.format import counted, visible
from orchestrator.cli.printing import as_json
from orchestrator.cli.records import plain

if TYPE_CHECKING:
    from orchestrator.store.verify import Breach, Verified


def shown(found: Verified, json: bool) -> int:
    """What was looked at and what is wrong with it; exit code 1 if anything is."""
    if json:
        as_json({**plain(found), "ok": found.ok})
        return int(not found.ok)
    for breach in found.breaches:
        print(f"{found.path}: {_line(breach)}", file=sys.stderr)
    if found.unknown:
        what = "of no debate in this folder: of their turns only the order that every debate keeps was checked"
        print(f"{counted(found.unknown, 'task')} {what}")
    looked = ", ".join((counted(found.tasks, "task"), counted(found.turns, "turn"), counted(found.verdicts, "verdict")))
    kept = "every promise is kept" if found.ok else counted(len(found.breaches), "broken promise")
    print(f"{found.path}: {looked}: {kept}")
    if not found.ok:
        print("next: keep a copy of this file and report it; tasks named above cannot be trusted, the others can")
    return int(not found.ok)


def _line(breach: Breach) -> str:
    about = f"task {breach.task_id} ({visible(breach.key)}) " if breach.task_id is not None else ""
    mend = f"; to mend it: {breach.mend}" if breach.mend else ""
    return f"{breach.promise}: {about}{visible(breach.what)}: {breach.meaning}{mend}"
