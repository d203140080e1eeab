"""The httpx clients that lead to KrosAI, made when the first request needs them.

httpx and its certificates cost 90 ms, which nobody should wait for while a chat window opens: hence the
imports inside functions.
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

if TYPE_CHECKING:
    import ssl

    import httpx

    from kros_mcp.krosai.transport import Proxy

AuthHeader = Literal["bearer", "x-api-key"]

_LONGEST_REQUEST_SECONDS: Final = 30.0


_MOST_SPARE: Final = 32
_IDLE_SECONDS: Final = 55.0  # most servers close a connection after 60


class Connections:
    """Makes clients as they are needed: some that keep a connection, for reads, and one that never does, for writes.

    httpcore looks at every connection of a pool for every request. So reads share no pool: each takes a client, and
    with it a connection, of its own, the one used last first, which is warm. Those that nobody has used for so long
    that KrosAI may have closed the connection are closed here too, when a read ends.

    Args:
        base_url: Where the API stands, as in "https://api.krosai.com/v1".
        headers: Sent with every request; they hold the secret.
        transport: Replaces the network, for the simulator and for faults; closed at the end.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        transport: httpx.AsyncBaseTransport | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._headers = headers
        self._transport = transport
        self._authorities: ssl.SSLContext | None = None
        self.proxy: Proxy | None = None
        self._clock = clock
        self._spare: list[tuple[httpx.AsyncClient, float]] = []  # each with when it was last used, the latest last
        self._writing: httpx.AsyncClient | None = None

    def warm_up(self) -> None:
        """Make what the first request needs.

        Raises:
            SettingsError: The address, the environment's proxy or its certificates cannot be used.
        """
        self.writing()
        if not self._spare:
            self._spare.append((self._make(keep=True), self._clock()))

    def url(self, path: str, query: Mapping[str, str]) -> str:
        """Write an address whole, since httpx takes longer to put one together than to send a request there."""
        return f"{self._base_url.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"

    def writing(self) -> httpx.AsyncClient:
        """Answer the client for writes, which takes a fresh connection for each.

        Raises:
            SettingsError: As in `warm_up`.
        """
        if self._writing is None:
            self._writing = self._make(keep=False)
        return self._writing

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend a client for one read, which nobody else uses meanwhile.

        Raises:
            SettingsError: As in `warm_up`.
        """
        client = self._spare.pop()[0] if self._spare else self._make(keep=True)
        try:
            yield client
        finally:
            self._spare.append((client, self._clock()))
            if outworn := self._outworn():
                await _close(outworn)

    async def aclose(self) -> None:
        """Close what was opened."""
        async with AsyncExitStack() as stack:
            for client in (*(client for client, _ in self._spare), *([self._writing] if self._writing else [])):
                stack.push_async_callback(client.aclose)

    def _outworn(self) -> list[httpx.AsyncClient]:
        """Take out the clients that were idle for too long, and of the others the oldest that are too many."""
        idle_since = self._clock() - _IDLE_SECONDS
        idle = sum(used < idle_since for _, used in self._spare)
        count = max(idle, len(self._spare) - _MOST_SPARE)
        outworn, self._spare = self._spare[:count], self._spare[count:]
        return [client for client, _ in outworn]

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
    """Close clients whatever comes: the read that waits for it has its answer."""
    with anyio.CancelScope(shield=True):
        for client in clients:
            with suppress(Exception):
                await client.aclose()


def headers(api_key: str, auth_header: AuthHeader, organization_id: str | None) -> dict[str, str]:
    """Write the headers of every request; they hold the secret.

    Raises:
        SettingsError: The key or the organization cannot stand in a header.
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
