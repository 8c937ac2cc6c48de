"""What the runs agreed that a shared endpoint has loaded: one row, moved by compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, exists, func, null, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from orchestrator.domain import Resident, RunId, Swap, TaskStatus
from orchestrator.store.codec import json_text, texts_of, time_text
from orchestrator.store.engine import Statement, Writer, constant
from orchestrator.store.run_tables import endpoints, swaps
from orchestrator.store.tables import tasks

_NOTHING = "[]"

_LEASED = Statement(
    select(func.count())
    .select_from(tasks)
    .where(tasks.c.status == constant(TaskStatus.LEASED), tasks.c.endpoint == bindparam("at_endpoint"))
)
_RESIDENT = Statement(
    select(endpoints.c.loaded, endpoints.c.version, endpoints.c.swap_until).where(
        endpoints.c.name == bindparam("at_endpoint")
    )
)
_MEET = Statement(
    insert(endpoints)
    .values(name=bindparam("at_endpoint"), loaded=constant(_NOTHING), version=constant(0))
    .on_conflict_do_nothing()
)
_BEGIN_SWAP = Statement(
    update(endpoints)
    .where(
        endpoints.c.name == bindparam("at_endpoint"),
        endpoints.c.version == bindparam("seen_version"),
        endpoints.c.loaded == bindparam("seen_loaded"),
        or_(endpoints.c.swap_until.is_(None), endpoints.c.swap_until <= bindparam("at")),
        ~exists().where(
            tasks.c.status == constant(TaskStatus.LEASED),
            tasks.c.endpoint == bindparam("at_endpoint"),
        ),
    )
    # A swapper that dies leaves the truth: nothing is known to be loaded.
    .values(
        version=endpoints.c.version + constant(1),
        loaded=constant(_NOTHING),
        run_id=bindparam("run"),
        swap_until=bindparam("until"),
    )
    .returning(endpoints.c.version)
)
_END_SWAP = Statement(
    update(endpoints)
    .where(
        endpoints.c.name == bindparam("at_endpoint"),
        endpoints.c.version == bindparam("seen_version"),
        endpoints.c.run_id == bindparam("run"),
    )
    .values(loaded=bindparam("now_loaded"), run_id=null(), swap_until=null())
)
_ADD_SWAP = Statement(swaps.insert(), [column.name for column in swaps.c if column.name != "id"])


def leased(writer: Writer, endpoint: str) -> int:
    """Tasks under lease on an endpoint, by any run."""
    return int(writer.run(_LEASED, {"at_endpoint": endpoint}).scalar_one())


def resident(writer: Writer, endpoint: str, now: datetime) -> Resident:
    """What is loaded there; nothing under version 0 for an endpoint never seen."""
    row = writer.run(_RESIDENT, {"at_endpoint": endpoint}).one_or_none()
    if row is None:
        return Resident(endpoint=endpoint, loaded=(), version=0, swapping=False)
    swapping = row.swap_until is not None and row.swap_until > time_text(now)
    return Resident(endpoint=endpoint, loaded=texts_of(row.loaded), version=row.version, swapping=swapping)


def begin_swap(writer: Writer, run_id: RunId, seen: Resident, until: datetime, now: datetime) -> int | None:
    """Reserve a swap; the new version, or None if something moved since `seen` or somebody speaks there."""
    if seen.swapping:
        return None
    values = {
        "at_endpoint": seen.endpoint,
        "seen_version": seen.version,
        "seen_loaded": json_text(seen.loaded),
        "run": run_id,
        "until": time_text(until),
        "at": time_text(now),
    }
    if seen.version == 0:
        writer.run(_MEET, values)
    version: int | None = writer.run(_BEGIN_SWAP, values).scalar()
    return version


def end_swap(
    writer: Writer, run_id: RunId, version: int, loaded: Sequence[str], swap: Swap | None, endpoint: str
) -> bool:
    """Say what is loaded now, and keep the swap; False if the reservation was lost."""
    values = {
        "at_endpoint": endpoint,
        "seen_version": version,
        "run": run_id,
        "now_loaded": json_text(list(loaded)),
    }
    if writer.run(_END_SWAP, values).rowcount != 1:
        return False
    if swap is not None:
        keep_swap(writer, run_id, swap)
    return True


def keep_swap(writer: Writer, run_id: RunId, swap: Swap) -> None:
    """Keep a load as a row."""
    values = {
        "run_id": run_id,
        "endpoint": swap.endpoint,
        "unloaded": json_text(swap.unloaded),
        "loaded": swap.loaded,
        "seconds": swap.seconds,
        "at": time_text(swap.at),
    }
    writer.run(_ADD_SWAP, values)
