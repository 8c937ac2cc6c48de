"""What `orchestrate db verify` finds in the databases that faults leave behind, and how many they were."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from orchestrator.app.verifying import look_over
from orchestrator.assets import Folders, migrations
from orchestrator.cast import Debate, read_debate
from orchestrator.store import schema


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
        found = look_over(path, [] if home is None else [_posting(home)]).breaches
        return [f"{breach.promise} {breach.key}: {breach.what}" for breach in found]


@cache
def _posting(home: Path) -> Debate:
    return read_debate("posting", Folders(home))
