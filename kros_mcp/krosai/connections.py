"""The two httpx clients that lead to KrosAI, made when the first request needs them.

httpx and its certificates cost 90 ms, which nobody should wait for while a chat window opens: hence the
imports inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from kros_mcp import __version__
from kros_mcp.errors import SettingsError

if TYPE_CHECKING:
    import httpx

AuthHeader = Literal["bearer", "x-api-key"]

_LONGEST_REQUEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Clients:
    """One httpx client that keeps its connections, for reads, and one that never reuses any, for writes."""

    reading: httpx.AsyncClient
    writing: httpx.AsyncClient


class Connections:
    """Makes the clients once, at first use.

    Args:
        base_url: Where the API stands, as in "https://api.krosai.com/v1".
        headers: Sent with every request; they hold the secret.
        transport: Replaces the network, for the simulator and for faults; closed at the end.
    """

    def __init__(self, base_url: str, headers: dict[str, str], transport: httpx.AsyncBaseTransport | None) -> None:
        self._base_url = base_url
        self._headers = headers
        self._transport = transport
        self._clients: Clients | None = None

    def open(self) -> Clients:
        """Answer the clients.

        Raises:
            SettingsError: The address or the environment's proxy cannot be used.
        """
        if self._clients is None:
            self._clients = self._make()
        return self._clients

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._clients is None:
            return
        try:
            await self._clients.reading.aclose()
        finally:
            await self._clients.writing.aclose()

    def _make(self) -> Clients:
        import httpx  # noqa: PLC0415  # see the module's docstring

        def client(limits: httpx.Limits) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                timeout=_LONGEST_REQUEST_SECONDS,
                limits=limits,
                transport=self._transport,
                verify=verify,
            )

        try:
            verify = httpx.create_ssl_context() if self._transport is None else True
            return Clients(client(httpx.Limits()), client(httpx.Limits(max_keepalive_connections=0)))
        except (ValueError, ImportError, httpx.InvalidURL):
            # Not chained: the foreign error may quote the address with a proxy's password.
            what = "KROS_BASE_URL, or a proxy in the environment, is not a usable address."
        except OSError:  # ssl.SSLError is one too
            what = "The certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read."
        raise SettingsError(what)


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
