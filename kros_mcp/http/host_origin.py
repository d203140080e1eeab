"""Which Host and Origin may call, and which pages in a browser may read the answers.

A page on the internet can make a browser call a service on a private network, by a name that it has pointed there
(DNS rebinding) or straight across origins. Host and Origin are checked before anything else on every route, so neither
gets in, whatever it asks for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.settings import Settings

PROBES: Final = ("/healthz", "/readyz")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_METHODS: Final = ("POST", "DELETE", "GET")  # a GET is answered 405, which clients want to see
_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Accept",
    "Mcp-Session-Id",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Last-Event-ID",
    "X-Request-Id",
)
_RESPONSE_HEADERS: Final = ("Mcp-Session-Id", "WWW-Authenticate", "Retry-After", "Allow", "X-Request-Id")


@dataclass(frozen=True)
class AllowedNames:
    """Hosts and origins that are answered, in lower case; one without a port stands for every port."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this service."""
        return _is_among(host.lower(), self.hosts)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of that origin may call."""
        return _is_among(origin.lower(), self.origins)


def allowed_names(settings: Settings, *, loopback: bool) -> AllowedNames:
    """Collect the names that the settings give this service.

    Args:
        settings: With the public URL and what is allowed beside it.
        loopback: Whether it listens on this machine alone; then pages of this machine may call.
    """
    hosts = {*_LOOPBACK, *settings.allowed_hosts}
    origins = {f"http://{host}" for host in _LOOPBACK} if loopback else set()
    origins |= set(settings.allowed_origins)
    if settings.public_url:
        public = urlsplit(settings.public_url)
        hosts.add(public.netloc.lower())
        origins.add(f"{public.scheme}://{public.netloc}".lower())
    return AllowedNames(frozenset(hosts), frozenset(origins))


class HostOriginMiddleware:
    """Answers 421 to a foreign Host and 403 to a foreign Origin, and passes everything else on.

    Probes are answered whatever Host they name, or none: a cluster asks by an address that nobody knows beforehand.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedNames) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        is_probe = scope["path"] in PROBES
        if not is_probe and (len(hosts) != 1 or not self._allowed.allows_host(hosts[0])):
            telemetry.note_refusal("foreign_host")
            await _refusal(421, "This service does not answer to that Host.")(scope, receive, send)
        elif len(origins) > 1 or not all(self._allowed.allows_origin(origin) for origin in origins):
            telemetry.note_refusal("foreign_origin")
            await _refusal(403, "Pages of that Origin may not call this service.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class ToolsCORSMiddleware(CORSMiddleware):
    """CORS for the tools alone: pages of `KROS_ALLOWED_ORIGINS` may read answers across origins.

    A page of this machine, or of the public URL, may call; but unless it is named there, a browser shows it no answer.
    A token goes with each request, and no cookie does.

    Args:
        app: What is called.
        paths: Where the tools are; anything else is passed on as it is.
        origins: Those of the settings, in lower case; one without a port stands for every port.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str], origins: Iterable[str]) -> None:
        super().__init__(app, allow_methods=_METHODS, allow_headers=_REQUEST_HEADERS, expose_headers=_RESPONSE_HEADERS)
        self._paths = frozenset(paths)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        handle = super().__call__ if self._origins and scope.get("path") in self._paths else self.app
        await handle(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether pages of that origin are named in the settings."""
        return _is_among(origin.lower(), self._origins)


def _is_among(name: str, known: Iterable[str]) -> bool:
    """Whether a host or an origin, in lower case, is named; one that is named without a port stands for all."""
    bare, colon, port = name.rpartition(":")
    return name in known or bool(colon and port.isdecimal() and (bare in known or f"{bare}:*" in known))


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _refusal(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(f"{sentence}\n", status_code=status)
