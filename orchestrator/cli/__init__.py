"""The command line: parse, one call, print."""

from __future__ import annotations

import sys

from orchestrator.errors import OrchestrateError


def main() -> None:
    """Run `orchestrate`. Exit 0 done, 1 a failure said in one line, 2 wrong usage, 130 interrupted."""
    from orchestrator.cli.commands import app

    try:
        app()
    except OrchestrateError as error:
        print(f"orchestrate: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`orchestrate export - | head`): that is no failure of ours.
        sys.stderr.close()
        sys.exit(0)
