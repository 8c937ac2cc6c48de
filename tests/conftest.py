"""What every test keeps to: loopback only, no tracing; and the tiny models that real servers serve."""

from __future__ import annotations

import getpass
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

TRACING = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Every connection and every look-up of a name that leaves this machine is an error, and no OSError."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_outside(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_outside(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *more: Any, **named: Any) -> Any:
        _refuse_outside((host, 0))
        return getaddrinfo(host, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_tracing() -> Iterator[None]:
    """Whatever this machine is set to, no prompt goes to LangSmith."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in TRACING:
            patch.setenv(variable, "false")
        patch.delenv("LANGSMITH_API_KEY", raising=False)
        patch.delenv("LANGCHAIN_API_KEY", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, Path]:
    """Names of tiny random models and their GGUF files; made once a machine."""
    # Half a second that only the tests of real servers have to pay.
    from tests.models.tiny import make_once

    return make_once(Path(gettempdir()) / f"orchestrate-tiny-models-{getpass.getuser()}")


def _refuse_outside(address: Any) -> None:
    if not isinstance(address, tuple) or _is_here(address[0]):
        return
    raise RuntimeError(f"a test reaches for {address[0]!r}: tests use loopback only")


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
