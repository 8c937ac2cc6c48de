"""Starts commands by forking a process that has imported everything: a command begins in milliseconds.

As a program it reads one JSON request a line: `{"start": …}` forks and answers with the process number, `{"poll": …}`
answers with the exit code once there is one, negative for the number of a signal. It has no threads, no event loop and
no connection to a database when it forks. When its input ends, it kills what is left.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import orchestrator
from orchestrator.cli import main as command_line
from tests.faults import injection

# They need an extra, or a second to import, and no fault here uses them.
_LEFT_OUT = {"orchestrator.backends.llamacpp", "orchestrator.backends.openai"}


def import_all() -> None:
    """Import every module of the program, so that a fork has nothing to import."""
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)
    for name in ("aiosqlite", "sqlalchemy.dialects.sqlite.pysqlite"):
        with suppress(ImportError):
            importlib.import_module(name)


def start(wanted: dict[str, Any]) -> int:
    """Fork a command; its process number."""
    pid = os.fork()
    return pid or _command(wanted)


def _command(wanted: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        os.chdir(wanted["home"])
        os.environ.update(wanted["settings"])
        time.tzset()
        out = os.open(wanted["out"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(old, new)
        injection.install(injection.Injection(**wanted["injection"]))
        sys.argv = ["orchestrate", *wanted["words"]]
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- a fork must never return into the server's loop
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def poll(pid: int, codes: dict[int, int | None]) -> int | None:
    """A command's exit code, or None while it runs."""
    if codes[pid] is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        codes[pid] = os.waitstatus_to_exitcode(status) if ended else None
    return codes[pid]


def serve() -> None:
    """Answer requests until the input ends."""
    codes: dict[int, int | None] = {}
    for text in sys.stdin:
        request = json.loads(text)
        if "start" in request:
            answer: int | None = start(request["start"])
            codes[answer or 0] = None
        else:
            answer = poll(request["poll"], codes)
        print(json.dumps(answer), flush=True)
    for pid in codes:
        if poll(pid, codes) is None:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    import_all()
    if threading.active_count() != 1:
        raise SystemExit("an import has started a thread: a fork would not have it")
    gc.collect()
    gc.freeze()
    print(json.dumps("ready"), flush=True)
    serve()
