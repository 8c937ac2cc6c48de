"""Which addresses a call may reach: any but link-local ones, where a cloud serves a machine its own credentials.

A name is checked after it is resolved, by the resolver whose answer is then connected to; an address in figures,
however it is written, when its socket is made. So nothing can differ between what is checked and what is reached.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from orchestrator.errors import SetupError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def connector() -> aiohttp.TCPConnector:
    """Connections, as many as are asked for; what would reach a link-local address raises SetupError."""
    # max_workers bounds the calls in flight; a second bound here would only hide waiting.
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=60, resolver=_Resolver(), socket_factory=_socket)


class _Resolver(AbstractResolver):
    """The system's resolver without its link-local answers; a name of the local network may have others beside them."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [each for each in found if not _is_link_local(each["host"])]
        if found and not kept:
            raise SetupError(f"{host} resolves to {_what(found[0]['host'])}")
        return kept

    async def close(self) -> None:
        await self._inner.close()


def _socket(target: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
    family, kind, protocol, _, address = target
    if _is_link_local(str(address[0])):
        raise SetupError(f"the url is {_what(str(address[0]))}")
    return socket.socket(family, kind, protocol)


def _what(address: str) -> str:
    return f"the link-local address {address}, which no call may reach: name another url"


def _is_link_local(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return any(each.is_link_local for each in _meant(address))


def _meant(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that an IPv6 one may stand for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(address.packed[-4:]))
    return [address, *(each for each in inner if each is not None)]
