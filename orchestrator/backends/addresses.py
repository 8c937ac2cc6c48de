"""Which addresses a call may reach: any but link-local ones, where clouds serve the machine's own credentials.

A name is checked once it is resolved, by the resolver whose answer is then connected to: no later answer can differ.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from orchestrator.errors import SetupError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def connector(**options: float) -> aiohttp.TCPConnector:
    """Connections that are made to no link-local address; `options` are aiohttp's own."""
    return aiohttp.TCPConnector(resolver=_Resolver(), **options)  # type: ignore[arg-type]


def refuse_link_local(host: str, name: str) -> None:
    """Raise SetupError if `host`, an address in figures, is link-local; `name` is how the user wrote it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    if any(each.is_link_local for each in _meant(address)):
        raise SetupError(
            f"{name} is the link-local address {host}, where no model server is but a cloud's own secrets may be: "
            "name another url"
        )


class _Resolver(AbstractResolver):
    """The system's resolver, without link-local answers."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for each in found:
            refuse_link_local(each["host"], host)
        return found

    async def close(self) -> None:
        await self._inner.close()


def host_of(url: str) -> str:
    """The host of a url, without brackets; "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _meant(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that an IPv6 one may stand for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(address.packed[-4:]))
    return [address, *(each for each in inner if each is not None)]
