"""A file is either as it was or complete: written beside its place, synced, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import OrchestrateError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes stand at `path` (mode 0600) once the block ends well; otherwise nothing changes."""
    if path.exists() and not path.is_file():
        raise OrchestrateError(f"{path} is not a plain file: name another")
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent)
        try:
            with open(number, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
            _sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        what = f"{path} cannot be written ({error.strerror or error})"
        raise OrchestrateError(f"{what}: check the folder, its rights and its room") from error


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
