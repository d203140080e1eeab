"""What guards a page: headers on every response, and no form that another page has sent."""

import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no-referrer, browsers would call the origin of our own forms "null", and it could not be checked.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class SecurityHeadersMiddleware:
    """Puts the headers on every response, those to unknown paths, wrong methods and failures included.

    Args:
        app: What answers.
        headers: Those of a page. Defaults to those of one that holds no other.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] = HEADERS) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        # Without the app around it, the router answers 404 and 405 by itself, in here.
        inner = {name: value for name, value in scope.items() if name != "app"}
        try:
            await self._app(inner, receive, send_with_headers)
        except Exception:
            if has_begun:
                raise
            logger.exception("a page: unexpected failure")
            failed = PlainTextResponse("This page failed; see the journal for what was decided.\n", status_code=500)
            await failed(inner, receive, send_with_headers)


def is_same_origin(request: Request, public_url: str | None) -> bool:
    """Whether a form came from a page of this service; every browser of today says so in one way or both.

    Args:
        request: Its Host is one of the service's names, as `HostOriginMiddleware` has checked.
        public_url: Where browsers see the service, if a proxy in between changes the Host.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        return False
    if site not in {None, "same-origin"}:
        return False
    if origin is None:
        return True
    hosts = {request.headers.get("host", "").lower(), urlsplit(public_url or "").netloc.lower()} - {""}
    return urlsplit(origin).netloc.lower() in hosts
