"""Whether a database keeps the promises: what is stored in it beside the debates that are known here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.order import next_step
from orchestrator.debate.rereading import Rereading
from orchestrator.errors import CastError
from orchestrator.store.verify import Verified
from orchestrator.store.verify import verify as look


def verify(workplace: Workplace) -> Verified:
    """Look the whole database over; nothing is changed. Raises StoreError: there is none, or one of another version."""
    workplace.check()
    return look_over(workplace.config.database, _readable(workplace))


def look_over(database: Path, debates: Iterable[Debate]) -> Verified:
    """Look a database over, given the debates that are known. Raises StoreError."""
    known = {debate.digest: debate for debate in debates}
    follows = {digest: partial(next_step, debate) for digest, debate in known.items()}
    return look(database, follows, lambda digest: Rereading(known.get(digest)))


def _readable(workplace: Workplace) -> Iterator[Debate]:
    for name in workplace.names():
        try:
            yield workplace.debate(name)
        except CastError:
            continue  # a debate that cannot be read now says nothing of turns spoken under an older version of it
