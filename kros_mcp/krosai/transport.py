"""How httpx reaches KrosAI: through which proxy, if any, and with which certificate authorities.

The proxy comes from the environment's variables or the system's settings, read here for one host. httpx reads them for
all hosts at once, and fails on what this host may not even need: an IPv6 range in NO_PROXY, or a SOCKS proxy from which
the host is exempt. It also blames whatever it was building, not the variable.

This module loads httpx, so it is itself imported only when the first request needs it.
"""

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx

from kros_mcp.errors import GET_EXTRAS, SettingsError

_SYSTEM: Final = "the system's settings"
_SOCKS: Final = frozenset({"socks5", "socks5h"})
_OTHER_SPELLINGS: Final = {"socks": "socks5"}
_LONGEST_SOCKS_LOGIN: Final = 255  # bytes each of user and password
_HIGHEST_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](.*)")
_HOW_TO_WRITE: Final = "Write http://host:port, https://host:port or socks5://host:port, and start again."


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy through which KrosAI is reached.

    Args:
        url: Its address, with the login if there is one; never shown.
        source: Where it is configured: a variable as spelt in the environment, or "the system's settings".
    """

    url: str = field(repr=False)
    source: str

    @property
    def place(self) -> str:
        """Host and port, without the login."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2]

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS and not HTTP."""
        return urlsplit(self.url).scheme in _SOCKS

    @property
    def is_reached_by_tls(self) -> bool:
        """Whether the proxy itself shows a certificate."""
        return urlsplit(self.url).scheme == "https"

    @property
    def has_login(self) -> bool:
        """Whether its address holds a user."""
        return "@" in urlsplit(self.url).netloc


def find_proxy(base_url: str) -> Proxy | None:
    """Return the proxy for requests to an address; None if they go directly.

    A loopback address never goes through a proxy: there it would mean the proxy's own machine, and the key would travel
    in the clear.

    Raises:
        SettingsError: The proxy's address cannot be used, or it speaks SOCKS and the library for that is missing.
    """
    target = urlsplit(base_url)
    named = named_proxy(base_url)
    if named is None or _is_exempt(named[0], target.scheme, (target.hostname or "").rstrip("."), target.port):
        return None
    return _usable(*named)


def named_proxy(base_url: str) -> tuple[str, str] | None:
    """Return where a proxy for an address is configured, and its value, even if the host is exempt; else None."""
    proxies = getproxies()
    for kind in (urlsplit(base_url).scheme, "all"):
        if (value := proxies.get(kind, "")).strip():
            # Of two spellings with one value the lower-case one counts, which sorts last.
            names = [name for name, held in os.environ.items() if name.lower() == f"{kind}_proxy" and held == value]
            return max(names, default=_SYSTEM), value.strip()
    return None


def _is_exempt(source: str, scheme: str, host: str, port: int | None) -> bool:
    if _is_loopback(host):
        return True
    if source == _SYSTEM:
        return bool(proxy_bypass(host))
    entries = re.split(r"[,\s]+", getproxies().get("no", "").lower())
    return any(_names(entry, scheme, host, port or _DEFAULT_PORTS.get(scheme)) for entry in entries)


def _names(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether one entry of NO_PROXY, in lower case, names a host: a name, an address or a range of addresses.

    Forms: `corp` (and all below it), `.corp` and `*.corp` (only what is below), `10.0.0.0/8`, `fd00::/8`, `[::1]`, each
    with a port or a scheme if it is meant for that alone, and `*`. A name is not looked up to compare its address.
    """
    only_scheme, separator, rest = entry.partition("://")
    if separator and only_scheme not in {"all", scheme}:
        return False
    text, beside = _split_port(rest if separator else entry)
    if beside and beside != f":{port}":
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return _covers(text.partition("/")[0].rstrip("."), host)
    try:
        return text == "*" or address in ip_network(text, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    """Return a name, address or range, and the port after it with its colon."""
    if bracketed := _BRACKETED.fullmatch(entry):
        address, beside = bracketed.groups()
        return (address + beside, "") if beside.startswith("/") else (address, beside)
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, f":{port}"
    return entry, ""


def _covers(name: str, host: str) -> bool:
    if name == "*":
        return True
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name) and name != "."
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _usable(source: str, value: str) -> Proxy:
    """Return a proxy that httpx can use; no error quotes its address, which may hold a password."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    scheme = _OTHER_SPELLINGS.get(scheme.lower(), scheme.lower())
    try:
        url = httpx.URL(f"{scheme}://{rest}")
        httpx.Proxy(url)
        usable = bool(url.host) and (url.port is None or 0 < url.port <= _HIGHEST_PORT) and len(value.split()) == 1
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        what = "is of a kind that cannot be used" if scheme.startswith("socks4") else "has no usable address"
        raise SettingsError(f"The proxy in {source} {what}.", next_step=_HOW_TO_WRITE)
    if scheme in _SOCKS:
        _require_socks(source, url.username, url.password)
    return Proxy(url=str(url), source=source)


def _require_socks(source: str, *login: str) -> None:
    if find_spec("socksio") is None:
        raise SettingsError(
            f"The proxy in {source} speaks SOCKS, for which the extra kros-mcp[socks] is not installed.",
            next_step=f"{GET_EXTRAS} Or name an HTTP proxy.",
        )
    if any(len(part.encode()) > _LONGEST_SOCKS_LOGIN for part in login):
        raise SettingsError(f"The login of the proxy in {source} is too long for SOCKS.", next_step=_HOW_TO_WRITE)


def network(proxy: Proxy | None, authorities: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    """Return a transport through this proxy, or else a direct one, whatever else the environment says."""
    if proxy is None:
        return _Network(httpx.AsyncHTTPTransport(verify=authorities, limits=limits))
    # A proxy that shows a certificate of its own is trusted by the same authorities.
    way = httpx.Proxy(proxy.url, ssl_context=authorities if proxy.is_reached_by_tls else None)
    transport = httpx.AsyncHTTPTransport(verify=authorities, limits=limits, proxy=way)
    return _Network(transport, _socks_errors() if proxy.is_socks else ())


class _Network(httpx.AsyncBaseTransport):
    """httpx's own transport, but it closes its connection when a request fails.

    httpcore leaves a connection open if the caller's time runs out during the TLS handshake, or if a SOCKS proxy opens
    no tunnel.

    Args:
        inner: httpx's own transport.
        handshake_errors: Errors of the SOCKS library that httpcore passes on; they become errors of httpx.
    """

    def __init__(self, inner: httpx.AsyncHTTPTransport, handshake_errors: tuple[type[Exception], ...] = ()) -> None:
        self._inner = inner
        self._handshake_errors = handshake_errors

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        opened: list[Any] = []
        wanted_trace = request.extensions.get("trace")

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if event.endswith(".connect_tcp.complete"):
                opened.append(info["return_value"])
            if wanted_trace is not None:
                await wanted_trace(event, info)

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
    """Load the certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names, or else those that come with httpx.

    Raises:
        SettingsError: They cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError:  # ssl.SSLError is one too
        source = certificates_source() or "the list that comes with httpx"
    raise SettingsError(f"The certificate authorities in {source} cannot be read.")


def certificates_source() -> str | None:
    """Return the variable that names the certificate authorities; None if neither is set."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
