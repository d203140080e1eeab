"""In front of `/mcp`: who is calling, how fast, and whether the tool they call is theirs to call.

All of it is decided here, before the SDK reads a word, so that a caller without the right to a tool is told by
the status of the response, as OAuth clients expect. The server itself looks once more.
"""

from collections.abc import Sequence

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.access import Access
from kros_mcp.http.bodies import BodyTooLongError, ClientGoneError, once_more, read_body
from kros_mcp.http.challenge import forbidden, refusal, too_many, unable, unauthorized
from kros_mcp.http.connections import caller_is_known
from kros_mcp.http.content_negotiation import Accepted, accepted
from kros_mcp.http.rate_limit import Pace
from kros_mcp.http.request_body import Envelope, open_envelope
from kros_mcp.http.sessions import ENVELOPE
from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.tools.caller import ACTING, IN_CONVERSATION, TOOL_SCOPES, Caller, CallerToken
from kros_mcp.tools.caller import Scope as Right
from kros_mcp.tools.stream import Stream, current_stream

_LONGEST_TOKEN = 16_384
_LONGEST_VERSION = 40
_VERSION = "mcp-protocol-version"
_VERSIONS = (*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS)
_STREAM_ALONE = "subscriptions/listen"
"""Of all methods the only one that is answered by a stream and nothing else."""


class Gate:
    """Lets a request in with a caller, or answers 401, 403, 429 or 503 itself.

    Args:
        app: What is guarded; it sees the body from its beginning. Nothing of it is read before the caller is known.
        access: Says whose a token is; None lets everybody in as the principal of the settings.
        pace: How fast each principal may ask.
        has_sessions: Whether a 2025-11-25 client has a session, which it may end.
    """

    def __init__(self, app: ASGIApp, access: Access | None, pace: Pace, *, has_sessions: bool) -> None:
        self._app = app
        self._access = access
        self._pace = pace
        self._has_sessions = has_sessions
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
            if refused is None:
                refused = self._wrong_method(scope)
            if refused is not None:
                await refused(scope, receive, send)
                return
            try:
                receive = once_more(await read_body(scope, receive, LONGEST_MESSAGE_BYTES), receive)
            except BodyTooLongError as exc:
                await refusal(exc.status_code, exc.detail, {})(scope, receive, send)
                return
            except ClientGoneError:
                return
            envelope = await open_envelope(scope, receive)
            refused = envelope.refusal or (self._without_right(caller, envelope) if caller else None)
            await (refused or self._handled(envelope))(scope, envelope.receive, send)

    def _handled(self, envelope: Envelope) -> ASGIApp:
        """Make what hands a request to the SDK, with the stream on which it is answered."""

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            headers = Headers(scope=scope)
            reads = accepted(headers)
            refused = _unknown_version(headers, envelope) or _unreadable(reads, envelope)
            if refused is not None:
                await refused(scope, receive, send)
                return
            scope, send = reads.fit(scope, send)
            scope[ENVELOPE] = envelope
            stream = Stream(shows_prompts=reads.events)
            before = current_stream.set(stream)
            try:
                await self._app(scope, receive, send)
            finally:
                current_stream.reset(before)
                stream.end()

        return handle

    def _wrong_method(self, scope: Scope) -> Response | None:
        """Refuse what is no method of the protocol, and a GET.

        Whatever is told, is told in the answer to a POST. A stream that a GET opens would carry nothing, hold a
        connection for as long as the caller likes, and outlive its token.
        """
        modern = Headers(scope=scope).get(_VERSION) in MODERN_PROTOCOL_VERSIONS
        allowed = ("POST", "DELETE") if self._has_sessions and not modern else ("POST",)
        if scope["method"] in allowed:
            return None
        telemetry.refused("method_not_allowed")
        names = " or ".join(allowed)
        return refusal(405, f"This address takes {names}.", {"allow": ", ".join(allowed)})

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
        if envelope.answers is not None and not caller.scopes & ACTING:
            return forbidden(self._resource, Right.BUY, "The answer to a prompt needs a scope to act.")
        if not tool or caller.may_use(tool):
            return None
        needed = min(TOOL_SCOPES[tool], key=list(Right).index)
        return forbidden(self._resource, needed, f"{tool} needs the scope {needed}.")


def _unknown_version(headers: Headers, envelope: Envelope) -> Response | None:
    """Refuse a revision of the protocol that is not spoken here."""
    given = headers.get(_VERSION)
    if given is None or given in _VERSIONS:
        return None
    telemetry.refused("unknown_version")
    return refusal(
        400,
        f"This server does not speak the revision in MCP-Protocol-Version. It speaks {', '.join(_VERSIONS)}.",
        {},
        code=UNSUPPORTED_PROTOCOL_VERSION,
        request_id=envelope.id,
        # As `server/discover` has it: to a client that names a version so, the others begin with a handshake.
        data={"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": given[:_LONGEST_VERSION]},
    )


def _unreadable(reads: Accepted, envelope: Envelope) -> Response | None:
    """Refuse a client that would read none of the forms in which it could be answered."""
    if not envelope.method or reads.events or (reads.json and envelope.method != _STREAM_ALONE):
        return None
    telemetry.refused("not_acceptable")
    forms = "as text/event-stream" if envelope.method == _STREAM_ALONE else "as application/json or text/event-stream"
    return refusal(406, f"This is answered {forms} alone; name it in Accept.", {}, request_id=envelope.id)


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
