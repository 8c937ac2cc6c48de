"""Where actors/, prompts/ and migrations/ are: the user's folder first, then the ones that ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped() -> Path:
    """The folder that holds the shipped actors/, prompts/ and migrations/: in a wheel `_assets`, else the checkout."""
    packed = _PACKAGE / "_assets"
    return packed if packed.is_dir() else _PACKAGE.parent


def migrations() -> Path:
    """The folder of the Alembic environment. Never the user's: a schema belongs to the program."""
    return shipped() / "migrations"


@dataclass(frozen=True, slots=True)
class Folders:
    """Looks a name up in the user's folder and then among what ships."""

    home: Path

    def find(self, kind: str, *parts: str) -> Path | None:
        """The first existing path `parts` in the folder `kind`, or None; one that leads out of it does not exist."""
        for root in (self.home, shipped()):
            folder = root / kind
            path = folder.joinpath(*parts)
            # The folder itself may be a link to a shared one; what is in it may not lead anywhere else.
            if path.exists() and path.resolve().is_relative_to(folder.resolve()):
                return path
        return None

    def names(self, kind: str, pattern: str) -> list[str]:
        """Names of files or folders under `kind`, e.g. `names("prompts", "*/debate.toml")`; sorted, without repeats."""
        found = set()
        for root in (self.home, shipped()):
            for path in (root / kind).glob(pattern):
                found.add(path.relative_to(root / kind).parts[0].removesuffix(".toml"))
        return sorted(found)
