"""What `orchestrate db verify` finds in the databases that faults leave behind, and how many they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from orchestrator.assets import Folders, migrations
from orchestrator.cast import read_debate
from orchestrator.debate.order import next_step
from orchestrator.domain import Digest
from orchestrator.store import schema
from orchestrator.store.verify import Follows, verify


@dataclass(slots=True)
class Audit:
    """Looks databases over, and counts them."""

    verified: int = 0

    def breaches(self, path: Path, home: Path | None = None) -> list[str]:
        """What is wrong with a database; `home` has the cards of its debate, where they are known.

        A database without tables has nothing to verify, and an older one is upgraded first: of these only the file
        is checked, and they are not counted. Raises StoreError.
        """
        if not schema.check(path, migrations()).ok:
            return list(schema.problems(path))
        self.verified += 1
        found = verify(path, {} if home is None else _follows(home)).breaches
        return [f"{breach.promise} {breach.key}: {breach.what}" for breach in found]


@cache
def _follows(home: Path) -> Mapping[Digest, Follows]:
    debate = read_debate("posting", Folders(home))
    return {debate.digest: partial(next_step, debate)}
