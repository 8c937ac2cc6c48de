"""HTTP to one model server: JSON in, JSON out, every fault a typed error.

LangChain's clients bring HTTP stacks that cost 3 to 7 ms of CPU a call; aiohttp costs a third of that, so the chat
models of this package keep LangChain's interface and send their requests through here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import SecretStr

from orchestrator.backends.addresses import connector
from orchestrator.backends.numbers import wait_s
from orchestrator.backends.secrecy import hides, without_key
from orchestrator.backends.streams import put_together
from orchestrator.errors import SetupError, TransientError, incomplete
from orchestrator.redaction import STARS

LONGEST_BODY = 16 * 1024 * 1024
_CONNECT_S = 5.0
_LOOK_S = 10.0
_EXCERPT = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered: its status, its JSON (None if the body was something else) and the body's beginning.

    A reply that came in pieces is put together. The key stands in none of it.
    """

    status: int
    json: Any
    excerpt: str
    retry_after_s: float | None


class Wire:
    """Calls to one base address, which may carry a path. No redirects, no proxies, bodies of 16 MiB at most."""

    def __init__(self, url: str, *, api_key: SecretStr | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        self._key = api_key.get_secret_value() if api_key is not None else ""
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._session: aiohttp.ClientSession | None = None
        self._heard: Callable[[Answer], None] = lambda _answer: None

    def listen(self, heard: Callable[[Answer], None]) -> None:
        """Tell somebody of every answer from now on, whatever is made of it."""
        self._heard = heard

    async def get(self, path: str) -> Answer:
        """GET, within 10 seconds. Raises TransientError or SetupError."""
        return await self._call("GET", path, None, _LOOK_S)

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> Answer:
        """POST a JSON body. Raises TransientError or SetupError."""
        return await self._call("POST", path, json.dumps(body, ensure_ascii=False).encode(), timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=connector(), headers=self._headers, trust_env=False)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(_CONNECT_S, timeout_s / 2))
        address = self.url + path
        try:
            async with self._session.request(
                method, address, data=body, timeout=timeout, allow_redirects=False
            ) as response:
                answer = _answer(response, await self._bounded(response, address), address, self._key)
                self._heard(answer)
                return answer
        except aiohttp.ClientConnectorError as error:
            raise TransientError(f"{self.url} does not answer: {error.os_error}", down=True) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise TransientError(f"{self.url} does not answer", down=True) from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise SetupError(f"{self.url} is not an address of a server: use http://host:port") from error
        except TimeoutError as error:
            raise TransientError(f"{address}: no complete reply within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(address, error) from error

    async def _bounded(self, response: aiohttp.ClientResponse, address: str) -> bytes:
        body = bytearray()
        try:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LONGEST_BODY:
                    raise TransientError(f"{address}: the reply is larger than {LONGEST_BODY // 2**20} MiB")
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            broken = self._broken(address, error)
            # Half of a refusal is no half reply.
            raise (incomplete(broken) if response.status == 200 else broken) from error
        return bytes(body)

    def _broken(self, address: str, error: Exception) -> TransientError:
        # The client repeats what it could not read.
        why = without_key(str(error), self._key) if self._key else str(error)
        return TransientError(f"{address}: the connection broke: {why or type(error).__name__}")


def _answer(response: aiohttp.ClientResponse, body: bytes, address: str, key: str) -> Answer:
    if 300 <= response.status < 400:
        raise SetupError(f"{address} redirects to another address; name that address as the endpoint's url")
    body = body.replace(key.encode(), STARS.encode()) if key else body
    hidden = bool(key) and hides(body, key)
    text = (body if hidden else body[:_EXCERPT]).decode("utf-8", "replace")
    return Answer(
        status=response.status,
        json=_parsed(body, key, hidden=hidden),
        excerpt=(without_key(text, key) if hidden else text)[:_EXCERPT],
        retry_after_s=wait_s(response.headers.get("Retry-After", ""), response.headers.get("Date", "")),
    )


def _parsed(body: bytes, key: str, *, hidden: bool) -> Any:
    try:
        parsed, whole = _json(body)
        if b"\\ud" in body.lower():
            # Half of a surrogate pair is no text: it could be neither stored nor sent again.
            json.dumps(parsed, ensure_ascii=False).encode()
        # Each piece of a reply may have held a piece of the key.
        return without_key(parsed, key) if hidden or (key and not whole) else parsed
    except (ValueError, RecursionError):
        return None


def _json(body: bytes) -> tuple[Any, bool]:
    """What a body holds, and whether it came as a whole."""
    try:
        return json.loads(body), True
    except ValueError:
        return put_together(body), False
