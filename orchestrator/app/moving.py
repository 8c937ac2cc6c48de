"""What a person does to tasks and to the database by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.clock import SystemClock
from orchestrator.app.looking import error_class
from orchestrator.app.workplace import Workplace
from orchestrator.assets import migrations
from orchestrator.errors import ErrorClass, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The database's version beside the program's, and what SQLite says of the file."""

    path: Path
    current: str | None
    head: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """The database can be used as it is."""
        return self.current == self.head and not self.problems


def retry(workplace: Workplace, debate: str | None, keys: Sequence[str] | None, only: str | None) -> int:
    """Put failed tasks back, and cancelled ones if they are asked for by key or class; how many.

    Raises:
        NotFoundError: there is no such class or key.
    """
    kind = error_class(only)
    _known(workplace, keys, debate)
    kinds = [kind] if kind or keys else [each for each in ErrorClass if each is not ErrorClass.CANCELLED]
    with workplace.store() as store, store.batch():
        now = SystemClock().now()
        return sum(store.retry(now, debate=debate, keys=keys or None, error_class=each) for each in kinds)


def cancel(workplace: Workplace, debate: str | None, keys: Sequence[str] | None) -> int:
    """Take unfinished tasks out of the queue; how many. Raises NotFoundError for an unknown key."""
    _known(workplace, keys, debate)
    with workplace.store() as store:
        return store.cancel(SystemClock().now(), debate=debate, keys=keys or None)


def upgrade(workplace: Workplace) -> tuple[Path, bool]:
    """Bring the database to this program's version; its path, and whether anything was to be done."""
    from orchestrator.store import schema

    return workplace.config.database, schema.upgrade(workplace.config.database, migrations())


def check(workplace: Workplace) -> Checked:
    """Look at the database's version and wholeness. Raises NotFoundError if there is none."""
    from orchestrator.store import schema

    path = workplace.config.database
    if not path.exists():
        raise NotFoundError(f"there is no database {path}: orchestrate db upgrade makes one")
    state = schema.check(path, migrations())
    return Checked(path=path, current=state.current, head=state.head, problems=schema.problems(path))


def _known(workplace: Workplace, keys: Sequence[str] | None, debate: str | None) -> None:
    with workplace.reading() as reading:
        missing = [key for key in keys or () if not reading.find(key, debate)]
    if missing:
        raise NotFoundError(f"no record has the key {', '.join(missing)}")
