"""Who may knock at all: Host and Origin are looked at before anything else, on every route.

A page on the internet can make a browser call a service on a private network, by a name that it has pointed
there (DNS rebinding) or straight across origins. Neither gets past here, whatever it asks for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.settings import Settings

PROBES = ("/healthz", "/readyz")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Names:
    """Hosts and origins that are answered, in lower case; one without a port stands for every port."""

    hosts: frozenset[str]
    origins: frozenset[str]

    def knows_host(self, host: str) -> bool:
        """Tell whether a Host header names this service."""
        return is_among(host.lower(), self.hosts)

    def knows_origin(self, origin: str) -> bool:
        """Tell whether a page of that origin may call."""
        return is_among(origin.lower(), self.origins)


def names(settings: Settings, *, loopback: bool) -> Names:
    """Collect the names that the settings give this service.

    Args:
        settings: With the public URL and what is allowed beside it.
        loopback: Whether it listens on this machine alone; then pages of this machine may call.
    """
    hosts = {*LOOPBACK, *settings.allowed_hosts}
    origins = {f"http://{host}" for host in LOOPBACK} if loopback else set()
    origins |= set(settings.allowed_origins)
    if settings.public_url:
        public = urlsplit(settings.public_url)
        hosts.add(public.netloc.lower())
        origins.add(f"{public.scheme}://{public.netloc}".lower())
    return Names(frozenset(hosts), frozenset(origins))


class Doors:
    """Answers 421 to a foreign Host and 403 to a foreign Origin; everything else goes in.

    Probes are answered whatever Host they name, or none: a cluster asks by an address that nobody knows beforehand.
    """

    def __init__(self, app: ASGIApp, known: Names) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        is_probe = scope["path"] in PROBES
        if not is_probe and (len(hosts) != 1 or not self._known.knows_host(hosts[0])):
            telemetry.refused("foreign_host")
            await _refused(421, "This service does not answer to that Host.")(scope, receive, send)
        elif len(origins) > 1 or not all(self._known.knows_origin(origin) for origin in origins):
            telemetry.refused("foreign_origin")
            await _refused(403, "Pages of that Origin may not call this service.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_among(name: str, known: Iterable[str]) -> bool:
    """Tell whether a host or an origin, in lower case, is named; one that is named without a port stands for all."""
    bare, colon, port = name.rpartition(":")
    return name in known or bool(colon and port.isdecimal() and (bare in known or f"{bare}:*" in known))


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _refused(status: int, sentence: str) -> PlainTextResponse:
    return PlainTextResponse(f"{sentence}\n", status_code=status)
