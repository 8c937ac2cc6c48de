"""A real llama.cpp server as a process of its own, for tests of whatever speaks OpenAI's chat completions.

As a program (`python -m tests.servers.llamacpp --model tiny-llama.gguf`) it prints its URL, which ends in `/v1`, and
then serves until SIGTERM. The model's name is the file's name without its suffix.
"""

import argparse
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import xllamacpp

ROOT = Path(__file__).parents[2]
LIFETIME_S = 120
END_S = 10.0


class LlamaCppServer:
    """One server, entered with `with`; `context` is in tokens, for each of its slots, port 0 is any free one."""

    def __init__(self, path: Path, slots: int = 1, context: int = 4096, port: int = 0) -> None:
        """Nothing runs before the server is entered."""
        self.url = ""
        options = {"--model": path, "--slots": slots, "--context": context, "--port": port, "--lifetime": LIFETIME_S}
        self._command = [sys.executable, "-m", __name__, *(str(part) for pair in options.items() for part in pair)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Return when it answers; `url` is known from here on."""
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            self.kill()
            raise RuntimeError(f"llama.cpp ended with {self._process.returncode} before it served")
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it is doing."""
        self.kill()

    def terminate(self) -> None:
        """Ask it to end, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=END_S)

    def kill(self) -> None:
        """End it in the middle of whatever it is doing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate(timeout=END_S)


def start(path: Path, slots: int, context: int, port: int) -> xllamacpp.Server:
    """A server that is ready to answer; it ends with the last reference to it."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.stem}
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.hostnames = ["127.0.0.1"]
    params.port = port
    # Two threads on two busy cores are ten times slower than one.
    params.cpuparams.n_threads = 1
    params.verbosity = 0
    server = xllamacpp.Server(params)
    # One that is stopped before its first call may never end: its loop has not begun, and misses the word.
    server.handle_completions({"prompt": ".", "max_tokens": 1})
    return server


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.llamacpp", description="A real llama.cpp server.")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--slots", type=int, default=1, help="requests answered at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens of each slot")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--lifetime", type=int, default=600, help="seconds after which it ends by itself")
    wanted = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # The system ends it, even if loading hangs: a test run that was killed leaves no server behind for long.
    signal.alarm(wanted.lifetime)
    server = start(wanted.model, wanted.slots, wanted.context, wanted.port)
    print(f"{server.listening_address}/v1", flush=True)
    stop.wait()


if __name__ == "__main__":
    main()
