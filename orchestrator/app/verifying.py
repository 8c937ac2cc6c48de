"""Whether a database keeps the promises: its turns beside the debates that are known here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from orchestrator.app.workplace import Workplace
from orchestrator.cast import Debate
from orchestrator.debate.order import next_step
from orchestrator.errors import CastError
from orchestrator.store.verify import Verified
from orchestrator.store.verify import verify as look


def verify(workplace: Workplace) -> Verified:
    """Look the whole database over; nothing is changed. Raises StoreError: there is none, or one of another version."""
    workplace.check()
    follows = {debate.digest: partial(next_step, debate) for debate in _readable(workplace)}
    return look(workplace.config.database, follows)


def _readable(workplace: Workplace) -> Iterator[Debate]:
    for name in workplace.names():
        try:
            yield workplace.debate(name)
        except CastError:
            continue  # a debate that cannot be read now says nothing of turns spoken under an older version of it
