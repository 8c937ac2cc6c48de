"""pyarrow is loaded only when a Parquet file is named: it takes longer to load than most commands take to run."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_arrow() -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`."""
    return import_module("pyarrow"), import_module("pyarrow.parquet")
