"""The transport through a SOCKS proxy: httpx's own, mended in two places.

httpcore leaves the connection open where the proxy opens no tunnel, and lets errors of the library for SOCKS through.
Loaded only where such a proxy is named, as it needs the extra `socks`.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
import httpx
import socksio


class SocksTransport(httpx.AsyncBaseTransport):
    """Sends requests through a SOCKS proxy; every failure before the tunnel stands is an error of httpx.

    Args:
        inner: httpx's own transport through that proxy.
    """

    def __init__(self, inner: httpx.AsyncHTTPTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        opened: list[Any] = []
        heard = request.extensions.get("trace")

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if event == "socks.connect_tcp.complete":
                opened.append(info["return_value"])
            if heard is not None:
                await heard(event, info)

        request.extensions = {**request.extensions, "trace": trace}
        try:
            return await self._inner.handle_async_request(request)
        except (socksio.SOCKSError, AssertionError) as exc:  # httpcore asserts which reply it got
            await _close(opened)
            raise httpx.ProxyError("The proxy does not speak SOCKS5.", request=request) from exc
        except BaseException:
            await _close(opened)
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _close(streams: list[Any]) -> None:
    with anyio.CancelScope(shield=True):
        for stream in streams:
            with suppress(Exception):
                await stream.aclose()
