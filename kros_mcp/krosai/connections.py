"""The httpx clients for KrosAI, made when the first request needs them.

Loading httpx and its certificates takes 90 ms, and a server should start faster than that: hence the imports inside
functions.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

import anyio

from kros_mcp import __version__
from kros_mcp.errors import SettingsError
from kros_mcp.krosai.text import Mask

if TYPE_CHECKING:
    import ssl

    import httpx

    from kros_mcp.krosai.transport import Proxy

AuthHeader = Literal["bearer", "x-api-key"]

_LONGEST_REQUEST_SECONDS: Final = 30.0
_MOST_SPARE: Final = 32
_IDLE_SECONDS: Final = 55.0  # most servers close a connection after 60


class Connections:
    """A stock of httpx clients: some that keep a connection, for reads, and one that never does, for writes.

    httpcore looks at every connection of a pool for every request. So reads share no pool: each borrows a client with
    a connection of its own, the most recently used first. When a read ends, clients are closed that were idle for so
    long that KrosAI may have closed their connection.

    Args:
        base_url: The address of the API, as in "https://api.krosai.com/v1".
        headers: Sent with every request; they hold the API key.
        transport: Replaces the network, for the simulator and for faults; closed at the end.
        clock: Seconds that only go forward.
        mask: Takes the API key out of every answer.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        transport: httpx.AsyncBaseTransport | None,
        clock: Callable[[], float] = time.monotonic,
        mask: Mask | None = None,
    ) -> None:
        self.mask = mask or Mask("")
        self._base_url = base_url
        self._headers = headers
        self._transport = transport
        self._authorities: ssl.SSLContext | None = None
        self.proxy: Proxy | None = None
        self._clock = clock
        self._spare: list[tuple[httpx.AsyncClient, float]] = []  # each with when it was last used, the latest last
        self._writing: httpx.AsyncClient | None = None

    def warm_up(self) -> None:
        """Make the clients that the first requests need.

        Raises:
            SettingsError: The address, the proxy or the certificates that the environment names cannot be used.
        """
        self.writing()
        if not self._spare:
            self._spare.append((self._make(keep=True), self._clock()))

    def url(self, path: str, query: Mapping[str, str]) -> str:
        """Return a whole address; httpx would take longer to build one than to send a request."""
        return f"{self._base_url.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"

    def writing(self) -> httpx.AsyncClient:
        """Return the client for writes, which opens a new connection for each.

        Raises:
            SettingsError: As in `warm_up`.
        """
        if self._writing is None:
            self._writing = self._make(keep=False)
        return self._writing

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend a client for one read; nobody else uses it meanwhile.

        Raises:
            SettingsError: As in `warm_up`.
        """
        client = self._spare.pop()[0] if self._spare else self._make(keep=True)
        try:
            yield client
        finally:
            self._spare.append((client, self._clock()))
            if expired := self._take_expired():
                await _close(expired)

    async def aclose(self) -> None:
        """Close every client."""
        async with AsyncExitStack() as stack:
            for client in (*(client for client, _ in self._spare), *([self._writing] if self._writing else [])):
                stack.push_async_callback(client.aclose)

    def _take_expired(self) -> list[httpx.AsyncClient]:
        """Remove and return the clients that were idle for too long, and the oldest of those that are too many."""
        idle_since = self._clock() - _IDLE_SECONDS
        idle = sum(used < idle_since for _, used in self._spare)
        count = max(idle, len(self._spare) - _MOST_SPARE)
        expired, self._spare = self._spare[:count], self._spare[count:]
        return [client for client, _ in expired]

    def _make(self, *, keep: bool) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415  # see the module's docstring

        try:
            return httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                timeout=_LONGEST_REQUEST_SECONDS,
                transport=self._transport or self._network(keep=keep),
            )
        except (ValueError, httpx.InvalidURL):
            what = "KROS_BASE_URL is not a usable address."
        raise SettingsError(what)

    def _network(self, *, keep: bool) -> httpx.AsyncBaseTransport:
        import httpx  # noqa: PLC0415  # see the module's docstring

        from kros_mcp.krosai.transport import (  # noqa: PLC0415  # the same
            certificates,
            find_proxy,  # the same
            network,
        )

        if self._authorities is None:
            self.proxy = find_proxy(self._base_url)
            self._authorities = certificates()
        limits = httpx.Limits(max_keepalive_connections=None if keep else 0, keepalive_expiry=_IDLE_SECONDS)
        return network(self.proxy, self._authorities, limits)


async def _close(clients: list[httpx.AsyncClient]) -> None:
    """Close clients, and ignore every failure: the read that waits for this has its answer."""
    with anyio.CancelScope(shield=True):
        for client in clients:
            with suppress(Exception):
                await client.aclose()


def headers(api_key: str, auth_header: AuthHeader, organization_id: str | None) -> dict[str, str]:
    """Return the headers that are the same for every request, the API key among them; `client.py` adds each one's ids.

    Raises:
        SettingsError: The key or the organization holds characters that no header can carry.
    """
    if not _fits_header(api_key):
        raise SettingsError("KROS_API_KEY holds characters that no key has.")
    if organization_id is not None and not _fits_header(organization_id):
        raise SettingsError("KROS_ORGANIZATION_ID holds characters that no id has.")
    key = {"x-api-key": api_key} if auth_header == "x-api-key" else {"authorization": f"Bearer {api_key}"}
    organization = {} if organization_id is None else {"x-organization-id": organization_id}
    return {"accept": "application/json", "user-agent": f"kros-mcp/{__version__}"} | key | organization


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and " " not in value
