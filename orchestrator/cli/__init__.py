"""The command line: parse, one call, print."""

from __future__ import annotations

import json
import sys

from orchestrator import redaction
from orchestrator.errors import OrchestrateError


def main() -> None:
    """Run `orchestrate`. Exit 0 done, 1 a failure said in one line, 2 wrong usage, 130 interrupted."""
    # Before Typer is imported, which keeps the hook it finds.
    redaction.install()
    from orchestrator.cli.commands import app

    try:
        app()
    except (OrchestrateError, OSError) as error:
        said = redaction.redacted(str(error))
        print(f"orchestrate: {said}", file=sys.stderr)
        if "--json" in sys.argv:
            print(json.dumps({"error": said, "kind": type(error).__name__}))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
