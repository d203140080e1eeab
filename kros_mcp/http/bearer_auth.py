"""Authentication by bearer token: who is calling, for the tools, the approvals page and the probes."""

from collections.abc import Sequence

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.access import Access
from kros_mcp.http.challenge import tokens_unavailable, unauthorized
from kros_mcp.tools.caller import CallerToken

LONGEST_TOKEN = 16_384


class BearerAuth:
    """Passes a request on with its caller, or answers 401, or 503 while tokens cannot be checked.

    Nothing of the body is read before the caller is known.

    Args:
        app: What is called; there, `kros_mcp.tools.caller.authenticated` tells the caller.
        access: Says whose a token is.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        given = bearer_token(scope["headers"])
        token = await self._access.verifier.verify_token(given) if given else None
        if not isinstance(token, CallerToken):
            cannot_check = given and self._access.trouble()
            refused = (
                tokens_unavailable() if cannot_check else unauthorized(self._access.resource, tried=given is not None)
            )
            await refused(scope, receive, send)
            return
        telemetry.note_caller(token.caller.principal, token.caller.organization)
        user = AuthenticatedUser(token)
        scope["user"], scope["auth"] = user, AuthCredentials(token.scopes)
        before = auth_context_var.set(user)
        try:
            await self._app(scope, receive, send)
        finally:
            auth_context_var.reset(before)


def bearer_token(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Read the bearer token of a request; None if there is none, empty if what is there cannot be one."""
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(values) > 1:
        return ""
    scheme, _, rest = values[0].partition(" ") if values else ("", "", "")
    token = rest.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    return token if len(token) <= LONGEST_TOKEN and token.isascii() else ""
