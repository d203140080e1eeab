"""The network as httpx takes it: through a proxy or not, and with the certificate authorities of the environment.

It loads httpx, so it is itself loaded when the first request needs it.
"""

import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
import httpx

from kros_mcp.errors import SettingsError
from kros_mcp.krosai.proxy import Proxy


def network(proxy: Proxy | None, authorities: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    """Make a transport that goes through this proxy, or else directly, whatever the environment says of others."""
    if proxy is None:
        return _Network(httpx.AsyncHTTPTransport(verify=authorities, limits=limits))
    # A proxy that shows a certificate of its own is trusted by the same authorities.
    way = httpx.Proxy(proxy.url, ssl_context=authorities if proxy.is_reached_by_tls else None)
    transport = httpx.AsyncHTTPTransport(verify=authorities, limits=limits, proxy=way)
    return _Network(transport, _socks_errors() if proxy.is_socks else ())


class _Network(httpx.AsyncBaseTransport):
    """httpx's own transport, which closes what it opened when it cannot go on.

    httpcore leaves a connection open where the caller's time runs out during the handshake of TLS, or where a SOCKS
    proxy opens no tunnel.

    Args:
        inner: httpx's own.
        handshake_errors: What httpcore lets through of the library for SOCKS; becomes an error of httpx.
    """

    def __init__(self, inner: httpx.AsyncHTTPTransport, handshake_errors: tuple[type[Exception], ...] = ()) -> None:
        self._inner = inner
        self._handshake_errors = handshake_errors

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        opened: list[Any] = []
        heard = request.extensions.get("trace")

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if event.endswith(".connect_tcp.complete"):
                opened.append(info["return_value"])
            if heard is not None:
                await heard(event, info)

        request.extensions = {**request.extensions, "trace": trace}
        try:
            return await self._inner.handle_async_request(request)
        except BaseException as exc:
            await _close(opened)
            if isinstance(exc, self._handshake_errors):
                raise httpx.ProxyError("The proxy does not speak SOCKS5.", request=request) from exc
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _close(streams: list[Any]) -> None:
    with anyio.CancelScope(shield=True):
        for stream in streams:
            with suppress(Exception):
                await stream.aclose()


def _socks_errors() -> tuple[type[Exception], ...]:
    from socksio import SOCKSError  # noqa: PLC0415  # an extra

    return (SOCKSError, AssertionError)  # httpcore asserts which reply it got


def certificates() -> ssl.SSLContext:
    """Load the certificate authorities that SSL_CERT_FILE names, or SSL_CERT_DIR, or else those that come with httpx.

    Raises:
        SettingsError: They cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError:  # ssl.SSLError is one too
        source = certificates_source() or "the list that comes with httpx"
    raise SettingsError(f"The certificate authorities in {source} cannot be read.")


def certificates_source() -> str | None:
    """Return the variable that names the certificate authorities, if one does."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
