"""Calls go by http(s) to the address that the operator gave, follow nobody elsewhere, and reach nothing link-local."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.addresses import connector
from orchestrator.backends.openai import OpenAIEndpoint
from orchestrator.backends.wire import Wire
from orchestrator.config import read_config
from orchestrator.errors import ConfigError, SetupError
from tests.servers.hostile import HostileServer, says

NAMES = {
    "metadata.test": ["169.254.169.254"],
    "both.test": ["169.254.169.254", "fe80::1"],
    "mapped.test": ["::ffff:169.254.169.254"],
    "printer.test": ["fe80::1", "127.0.0.1"],  # as names of a local network resolve
    "0xa9fea9fe": ["169.254.169.254"],
}


@pytest.fixture
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that knows a few names, and nothing else."""

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [_entry(address, port) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _entry(address: str, port: int) -> tuple[Any, ...]:
    if ipaddress.ip_address(address).version == 4:
        return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
    return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))


async def refusal(url: str) -> str:
    """What a call of this url is refused with."""
    wire = Wire(url)
    try:
        with pytest.raises(SetupError) as refused:
            await wire.get("/api/tags")
    finally:
        await wire.close()
    return str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "169.254.0.1", "[fe80::1]", "[febf::1]", "[fe80::1%25lo]"),
        *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]"),
        *("１６９.254.169.254", "169。254。169。254"),
    ],
)
async def test_link_local_address_is_refused(host: str) -> None:
    assert "link-local address" in await refusal(f"http://{host}:80")


@pytest.mark.parametrize("host", ["2852039166", "169.254.43518", "169.254.169.254."])
async def test_other_spelling_of_an_address_is_refused(host: str) -> None:
    assert "is not an address of a server" in await refusal(f"http://{host}")


@pytest.mark.usefixtures("_names")
@pytest.mark.parametrize("name", ["metadata.test", "both.test", "mapped.test", "0xa9fea9fe"])
async def test_name_of_link_local_address_is_refused(name: str) -> None:
    assert f"{name} resolves to the link-local address" in await refusal(f"http://{name}")


@pytest.mark.usefixtures("_names")
async def test_name_with_another_address_reaches_that() -> None:
    async with HostileServer(says({"ok": True})) as server:
        wire = Wire(server.url.replace("127.0.0.1", "printer.test"))
        answer = await wire.get("/api/tags")
        await wire.close()

    assert answer.json == {"ok": True}


@pytest.mark.usefixtures("_names")
@pytest.mark.parametrize("host", ["metadata.test", "169.254.169.254", "[fe80::1]"])
async def test_metrics_are_not_asked_of_link_local(host: str) -> None:
    endpoint = OpenAIEndpoint(name="desk", wire=Wire(f"http://{host}/v1"))

    assert await endpoint.pressure() is None
    await endpoint.close()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.8", "192.168.1.5", "8.8.8.8", "fd00::1", "::ffff:10.0.0.8"]
)
async def test_other_addresses_get_a_socket(address: str) -> None:
    made = connector()
    factory = made._socket_factory
    assert factory is not None

    factory(_entry(address, 80)).close()
    await made.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_metrics_follow_no_redirect(status: int) -> None:
    async with (
        HostileServer(says("vllm:num_requests_running 1\nvllm:num_requests_waiting 1")) as target,
        HostileServer(says("", status, Location=f"{target.url}/metrics")) as server,
    ):
        endpoint = OpenAIEndpoint(name="desk", wire=Wire(f"{server.url}/v1"))
        pressure = await endpoint.pressure()
        await endpoint.close()

    assert [call.path for call in server.seen] == ["/metrics"]
    assert target.seen == []
    assert pressure is None


@pytest.mark.parametrize("backend", ["ollama", "vllm"])
@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://h", "gopher://h", "unix:///run/x.sock", "//h", "h:80", "HTTPS//h", ""),
        *("http://me:secret@h", "http://me@h/v1", "http://h/v1?key=secret", "http://h/#secret"),
    ],
)
def test_other_urls_are_refused_unshown(tmp_path: Path, backend: str, url: str) -> None:
    (tmp_path / "orchestrate.toml").write_text(f'[endpoints.desk]\nbackend = "{backend}"\nurl = "{url}"\n')

    with pytest.raises(ConfigError, match="url: ") as refused:
        read_config(tmp_path, {})

    assert "secret" not in str(refused.value)
