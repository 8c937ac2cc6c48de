"""The model server as a program: `python -m benchmarks.model_server --profile laptop`.

Prints its URL on the first line, one more line for every replica of the profile, and serves until SIGTERM or the end of
its lifetime. All replicas run in this process; for a core each, start one process each with `--set replicas=1`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from .profile import Profile, load_profile
from .server import ModelServer


async def serve(profile: Profile, wanted: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT or the end of the lifetime."""
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with AsyncExitStack() as open_servers:
        for number in range(profile.replicas):
            server = ModelServer(
                profile,
                scale=wanted.scale,
                grace_s=wanted.grace,
                port=wanted.port + number if wanted.port else 0,
                calls_file=wanted.calls,
            )
            await open_servers.enter_async_context(server)
            print(server.url, flush=True)
        # Nobody may be left to stop it: a run that was killed leaves no server behind for long.
        await asyncio.wait({asyncio.create_task(stop.wait())}, timeout=wanted.lifetime)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_server", description=__doc__)
    parser.add_argument("--profile", required=True, help="laptop, rtx4080, h100, four_gpus, or a TOML file")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the profile")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; replicas take the next ones")
    parser.add_argument("--scale", type=float, default=0.01, help="real seconds a simulated second lasts")
    parser.add_argument("--grace", type=float, default=0.0, help="real seconds the clock stands still after a reply")
    parser.add_argument("--calls", type=Path, help="file to append a JSON line per call to")
    parser.add_argument("--lifetime", type=float, default=600.0, help="real seconds after which it ends by itself")
    wanted = parser.parse_args()
    try:
        profile = load_profile(wanted.profile, wanted.set)
    except ValueError as error:
        sys.exit(f"{parser.prog}: {error}")
    asyncio.run(serve(profile, wanted))


if __name__ == "__main__":
    main()
