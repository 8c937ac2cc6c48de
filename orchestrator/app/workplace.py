"""The folder a user works in: its settings, its debates, its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets import Folders, migrations
from orchestrator.cast import Debate, debate_names, read_debate
from orchestrator.config import Config, read_config
from orchestrator.domain import TaskStatus
from orchestrator.errors import CastError, NotFoundError, StoreError

if TYPE_CHECKING:
    from orchestrator.store.reading import Reading
    from orchestrator.store.tasks import SqlTaskStore

_UNFINISHED = (TaskStatus.PENDING, TaskStatus.LEASED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """One folder with its settings."""

    config: Config
    folders: Folders

    def debate(self, name: str) -> Debate:
        """A debate of this folder, or a shipped one. Raises CastError."""
        return read_debate(name, self.folders)

    def debates(self, name: str | None) -> list[Debate]:
        """The debate asked for, or all of those that have unfinished tasks. Raises CastError, StoreError."""
        if name is not None:
            self.check()
            return [self.debate(name)]
        with self.reading() as reading:
            unfinished = {count.debate for count in reading.counts() if count.status in _UNFINISHED}
        try:
            return [self.debate(used) for used in sorted(unfinished)]
        except CastError as error:
            advice = "work on another one with --debate NAME, or take its tasks out: orchestrate cancel --debate NAME"
            raise CastError(f"{error}; tasks of it wait: {advice}") from error

    def names(self) -> list[str]:
        """The debates there are."""
        return debate_names(self.folders)

    @contextmanager
    def store(self, *, create: bool = False) -> Iterator[SqlTaskStore]:
        """The task table, for writing. Raises StoreError: no database yet, or one of another version."""
        from orchestrator.store import schema
        from orchestrator.store.tasks import SqlTaskStore

        path = self.config.database
        # A file without tables is what a first submit that was killed has left.
        if create and not path.is_dir() and schema.check(path, migrations()).current is None:
            schema.upgrade(path, migrations())
        self.check()
        store = SqlTaskStore(path, synchronous=self.config.settings.synchronous)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """The database, for reading only. Raises StoreError."""
        from orchestrator.store.reading import Reading

        self.check()
        with Reading(self.config.database) as reading:
            yield reading

    def check(self) -> None:
        """Raise StoreError unless there is a database of this program's version."""
        from orchestrator.store import schema

        path = self.config.database
        if path.is_dir():
            raise StoreError(f"{path} is a folder: name a file as the database")
        state = schema.check(path, migrations())
        if state.current is None:
            advice = "submit records first (orchestrate submit FILE --debate NAME)"
            if path.exists():
                raise StoreError(f"the database {path} is empty: {advice}, or put a copy back if it held some")
            raise StoreError(f"there is no database {path} yet: {advice}")
        if not state.ok:
            raise StoreError(
                f"{path} has schema {state.current}, this program works with {state.head}: orchestrate db upgrade"
            )

    def must_have(self, name: str) -> None:
        """Raise NotFoundError unless an endpoint has that name."""
        known = self.config.settings.endpoints
        if name not in known:
            raise NotFoundError(f"there is no endpoint {name!r}; orchestrate.toml has: {', '.join(known)}")


def open_workplace(home: Path, flags: Mapping[str, Any]) -> Workplace:
    """The workplace in a folder. Raises ConfigError."""
    home = home.resolve()
    return Workplace(config=read_config(home, flags), folders=Folders(home))
