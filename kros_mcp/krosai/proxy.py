"""Which proxy, if any, leads to KrosAI: the environment's variables, or the system's settings, read for one host.

httpx reads them for every host at once, and fails on what this host may not even need: an IPv6 range in NO_PROXY, or a
SOCKS proxy from which the host is exempt. It also blames whatever it was building then, not the variable.

It loads httpx, so it is itself loaded when the first request needs it.
"""

import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from kros_mcp.errors import SettingsError

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
    """A proxy that leads to KrosAI.

    Args:
        url: Its address, with the login if there is one: never to be shown.
        source: What names it: a variable as it is spelt in the environment, or "the system's settings".
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
        """Whether it speaks SOCKS, else HTTP."""
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
    """Return the proxy that requests to an address go through; None where they go directly.

    A loopback address never goes through a proxy: it would be the proxy's own machine, and get the key in the clear.

    Raises:
        SettingsError: The proxy's address cannot be used, or it speaks SOCKS and the library for that is missing.
    """
    target = urlsplit(base_url)
    named = named_proxy(base_url)
    if named is None or _is_exempt(named[0], target.scheme, (target.hostname or "").rstrip("."), target.port):
        return None
    return _usable(*named)


def named_proxy(base_url: str) -> tuple[str, str] | None:
    """Return what names a proxy for such an address, whether or not its host is exempt, and the value there."""
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
    text, beside = _parted(rest if separator else entry)
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


def _parted(entry: str) -> tuple[str, str]:
    """Part a name, address or range from the port after it, which keeps its colon."""
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
    """Make sure that httpx can use a proxy's address; no error holds any of it, as it may hold a password."""
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
            f"The proxy in {source} speaks SOCKS, and the library for that is not installed.",
            next_step="Install the extra kros-mcp[socks], or name an HTTP proxy, and start again.",
        )
    if any(len(part.encode()) > _LONGEST_SOCKS_LOGIN for part in login):
        raise SettingsError(f"The login of the proxy in {source} is too long for SOCKS.", next_step=_HOW_TO_WRITE)
