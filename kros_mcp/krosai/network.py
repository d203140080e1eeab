"""The network as httpx takes it: through a proxy or not, and with the certificate authorities of the environment.

httpx and its certificates are loaded at first use, as they cost 90 ms: hence the imports inside functions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kros_mcp.errors import SettingsError

if TYPE_CHECKING:
    import ssl

    import httpx

    from kros_mcp.krosai.proxy import Proxy


def network(proxy: Proxy | None, authorities: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    """Make a transport that goes through this proxy, or else directly, whatever the environment says of others."""
    import httpx  # noqa: PLC0415  # see the module's docstring

    if proxy is None:
        return httpx.AsyncHTTPTransport(verify=authorities, limits=limits)
    # A proxy that shows a certificate of its own is trusted by the same authorities.
    way = httpx.Proxy(proxy.url, ssl_context=authorities if proxy.is_reached_by_tls else None)
    transport = httpx.AsyncHTTPTransport(verify=authorities, limits=limits, proxy=way)
    if not proxy.is_socks:
        return transport
    from kros_mcp.krosai.socks import SocksTransport  # noqa: PLC0415  # an extra

    return SocksTransport(transport)


def certificates() -> ssl.SSLContext:
    """Load the certificate authorities that SSL_CERT_FILE names, or SSL_CERT_DIR, or else those that come with httpx.

    Raises:
        SettingsError: They cannot be read.
    """
    import httpx  # noqa: PLC0415  # see the module's docstring

    try:
        return httpx.create_ssl_context()
    except OSError:  # ssl.SSLError is one too
        source = certificates_source() or "the list that comes with httpx"
    raise SettingsError(f"The certificate authorities in {source} cannot be read.")


def certificates_source() -> str | None:
    """Return the variable that names the certificate authorities, if one does."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
