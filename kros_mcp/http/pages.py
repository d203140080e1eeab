"""What a page in a browser may do with the tools: those of `KROS_ALLOWED_ORIGINS` read answers across origins.

A page of this machine, or of the public URL, may call; but unless it is named there, a browser shows it no answer.
"""

from collections.abc import Iterable
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp.http.host_origin import is_among

_METHODS: Final = ("POST", "DELETE", "GET")  # a GET is answered 405, which clients want to see
_SENDS: Final = (
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
_READS: Final = ("Mcp-Session-Id", "WWW-Authenticate", "Retry-After", "Allow", "X-Request-Id")


class Pages(CORSMiddleware):
    """CORS for the tools; a token goes with each request, and no cookie does.

    Args:
        app: What is called.
        paths: Where the tools are; anything else is passed on as it is.
        origins: Those of the settings, in lower case; one without a port stands for every port.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str], origins: Iterable[str]) -> None:
        super().__init__(app, allow_methods=_METHODS, allow_headers=_SENDS, expose_headers=_READS)
        self._paths = frozenset(paths)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        handle = super().__call__ if self._origins and scope.get("path") in self._paths else self.app
        await handle(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Tell whether pages of that origin are named in the settings."""
        return is_among(origin.lower(), self._origins)
