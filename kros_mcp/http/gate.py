"""In front of `/mcp`: who is calling, how fast, and whether the tool they call is theirs to call.

All of it is decided here, before the SDK reads a word, so that a caller without the right to a tool is told by
the status of the response, as OAuth clients expect. The server itself looks once more.
"""

from collections.abc import Sequence

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.authentication import AuthCredentials
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.access import Access
from kros_mcp.http.bodies import BodyTooLongError, ClientGoneError, once_more, read_body
from kros_mcp.http.challenge import forbidden, refusal, too_many, unable, unauthorized
from kros_mcp.http.connections import caller_is_known
from kros_mcp.http.envelope import Envelope, open_envelope
from kros_mcp.http.pace import Pace
from kros_mcp.tools.caller import ACTING, IN_CONVERSATION, TOOL_SCOPES, Caller, CallerToken
from kros_mcp.tools.caller import Scope as Right

MAX_BODY_BYTES = 256 * 1024
"""Longer bodies are refused with 413; the longest argument of a tool has some hundred characters."""
_LONGEST_TOKEN = 16_384
# Whatever is told, is told in the answer to a POST. A stream that a GET opens would carry nothing, hold a connection
# for as long as the caller likes, and outlive its token.
_no_stream = Response(status_code=405, headers={"allow": "POST, DELETE"})


class Gate:
    """Lets a request in with a caller, or answers 401, 403, 429 or 503 itself.

    Args:
        app: What is guarded; it sees the body from its beginning. Nothing of it is read before the caller is known.
        access: Says whose a token is; None lets everybody in as the principal of the settings.
        pace: How fast each principal may ask.
    """

    def __init__(self, app: ASGIApp, access: Access | None, pace: Pace) -> None:
        self._app = app
        self._access = access
        self._pace = pace
        self._resource = access.resource if access else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._access is None:
            await self._let_in(scope, receive, send, None)
            return
        given = bearer(scope["headers"])
        token = await self._access.verifier.verify_token(given) if given else None
        if not isinstance(token, CallerToken):
            await self._unknown(self._access, given)(scope, receive, send)
            return
        telemetry.caller_is(token.caller.principal)
        user = AuthenticatedUser(token)
        scope["user"], scope["auth"] = user, AuthCredentials(token.scopes)
        before = auth_context_var.set(user)
        try:
            await self._let_in(scope, receive, send, token.caller)
        finally:
            auth_context_var.reset(before)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send, caller: Caller | None) -> None:
        """Hand a request on, unless its caller has no place left for it, its body is malformed, or it is not theirs."""
        caller_is_known(scope)
        principal = caller.principal if caller else ""
        with self._pace.in_course(principal) as has_place:
            refused = self._too_fast(principal) if has_place else too_many(1)
            if refused is None and caller is not None:
                refused = self._without_any_right(caller)
            if refused is None and scope["method"] == "GET":
                refused = _no_stream
            if refused is None:
                try:
                    receive = once_more(await read_body(scope, receive, MAX_BODY_BYTES), receive)
                except BodyTooLongError as exc:
                    refused = refusal(exc.status_code, exc.detail, {})
                except ClientGoneError:
                    return
            if refused is None:
                envelope = await open_envelope(scope, receive)
                receive = envelope.receive
                refused = envelope.refusal or (self._without_right(caller, envelope) if caller else None)
            await (refused or self._app)(scope, receive, send)

    def _unknown(self, access: Access, given: str | None) -> Response:
        if given and access.trouble():
            return unable()
        return unauthorized(self._resource, tried=given is not None)

    def _too_fast(self, principal: str) -> Response | None:
        seconds = self._pace.wait_seconds(principal)
        return too_many(seconds) if seconds else None

    def _without_any_right(self, caller: Caller) -> Response | None:
        if caller.scopes & IN_CONVERSATION:
            return None
        return forbidden(self._resource, Right.READ, "The token permits no tool of this service.")

    def _without_right(self, caller: Caller, envelope: Envelope) -> Response | None:
        tool = envelope.tool
        if envelope.answers and not caller.scopes & ACTING:
            return forbidden(self._resource, Right.BUY, "The answer to a prompt needs a scope to act.")
        if not tool or caller.may_use(tool):
            return None
        needed = min(TOOL_SCOPES[tool], key=list(Right).index)
        return forbidden(self._resource, needed, f"{tool} needs the scope {needed}.")


def bearer(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Read the bearer token of a request; None if there is none, empty if what is there cannot be one."""
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(values) > 1:
        return ""
    scheme, _, rest = values[0].partition(" ") if values else ("", "", "")
    token = rest.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    return token if len(token) <= _LONGEST_TOKEN and token.isascii() else ""
