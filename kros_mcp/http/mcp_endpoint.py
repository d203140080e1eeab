"""The endpoint `/mcp`: what is checked of a request of an authenticated caller before the SDK reads it.

How fast the caller asks, whether the tool is theirs to call, and whether it is a request of MCP at all. A caller
without the right to a tool is told by the status of the response, as OAuth clients expect; the server itself checks
once more.
"""

from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.challenge import forbidden, tool_forbidden
from kros_mcp.http.content_negotiation import accepted_types, not_acceptable
from kros_mcp.http.h11_protocol import mark_authenticated
from kros_mcp.http.rate_limit import RateLimiter
from kros_mcp.http.request_body import (
    CLIENT_MESSAGE,
    BodyTooLongError,
    ClientGoneError,
    ClientMessage,
    json_rpc_error,
    read_body,
    read_client_message,
    replay,
)
from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.tools.caller import Caller, authenticated
from kros_mcp.tools.specs import IN_CONVERSATION
from kros_mcp.tools.specs import Scope as Right
from kros_mcp.tools.stream import Stream, current_stream

_LONGEST_VERSION = 40
_VERSION = "mcp-protocol-version"
_VERSIONS = (*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS)


class McpEndpoint:
    """Passes a request on to the SDK, or answers 400, 403, 405, 406, 413 or 429 itself.

    Args:
        app: The SDK's; it gets the body from its beginning.
        resource: Identifies this service to authorization servers; None without OAuth.
        limiter: How fast each caller may ask.
        has_sessions: Whether a 2025-11-25 client has a session, which it may end.
    """

    def __init__(self, app: ASGIApp, resource: str | None, limiter: RateLimiter, *, has_sessions: bool) -> None:
        self._app = app
        self._resource = resource
        self._limiter = limiter
        self._has_sessions = has_sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, of an authenticated caller or, where everybody is let in, of anybody."""
        mark_authenticated(scope)
        caller = authenticated()
        name = caller.whole_name if caller else ""
        with self._limiter.in_course(name) as is_allowed:
            seconds = self._limiter.wait_seconds(name) if is_allowed else 1
            refused = (
                (_too_many_requests(seconds) if seconds else None)
                or (self._without_any_right(caller) if caller else None)
                or self._wrong_method(scope)
            )
            if refused is not None:
                await refused(scope, receive, send)
                return
            try:
                body = await read_body(scope, receive, LONGEST_MESSAGE_BYTES)
            except BodyTooLongError as exc:
                await json_rpc_error(exc.status_code, exc.detail, {})(scope, receive, send)
                return
            except ClientGoneError:
                return
            message = read_client_message(body) if scope["method"] == "POST" else ClientMessage()
            refused = message.refusal or (self._without_right(caller, message) if caller else None)
            receive = replay(body, receive)
            if refused is not None:
                await refused(scope, receive, send)
            else:
                await self._pass_on(message, scope, receive, send)

    async def _pass_on(self, message: ClientMessage, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the SDK, with the stream on which it is answered."""
        headers = Headers(scope=scope)
        types = accepted_types(headers)
        refused = _unknown_version(headers, message) or not_acceptable(types, message)
        if refused is not None:
            await refused(scope, receive, send)
            return
        scope, send = types.adapt(scope, send)
        scope[CLIENT_MESSAGE] = message
        stream = Stream(shows_prompts=types.events, tool=message.tool)
        before = current_stream.set(stream)
        try:
            await self._app(scope, receive, send)
        finally:
            current_stream.reset(before)
            stream.end()

    def _wrong_method(self, scope: Scope) -> Response | None:
        """Refuse what is no method of the protocol, and a GET.

        Everything is told in the answer to a POST. A stream that a GET opens would carry nothing, hold a connection
        for as long as the caller likes, and outlive its token.
        """
        modern = Headers(scope=scope).get(_VERSION) in MODERN_PROTOCOL_VERSIONS
        allowed = ("POST", "DELETE") if self._has_sessions and not modern else ("POST",)
        if scope["method"] in allowed:
            return None
        telemetry.note_refusal("method_not_allowed")
        names = " or ".join(allowed)
        return json_rpc_error(405, f"This address takes {names}.", {"allow": ", ".join(allowed)})

    def _without_any_right(self, caller: Caller) -> Response | None:
        if caller.scopes & IN_CONVERSATION:
            return None
        return forbidden(self._resource, Right.READ, "The token permits no tool of this service.")

    def _without_right(self, caller: Caller, message: ClientMessage) -> Response | None:
        if not message.tool or caller.may_use(message.tool):
            return None
        return tool_forbidden(self._resource, message.tool)


def _too_many_requests(seconds: int) -> Response:
    """Answer 429: the caller's next request is welcome after so long."""
    telemetry.note_refusal("too_many_requests")
    wait = "a second" if seconds == 1 else f"{seconds} seconds"
    return json_rpc_error(429, f"Too many requests. Try again in {wait}.", {"retry-after": str(seconds)})


def _unknown_version(headers: Headers, message: ClientMessage) -> Response | None:
    """Refuse a revision of the protocol that this server does not speak."""
    given = headers.get(_VERSION)
    if given is None or given in _VERSIONS:
        return None
    telemetry.note_refusal("unknown_version")
    return json_rpc_error(
        400,
        f"This server does not speak the revision in MCP-Protocol-Version. It speaks {', '.join(_VERSIONS)}.",
        {},
        code=UNSUPPORTED_PROTOCOL_VERSION,
        request_id=message.id,
        # As `server/discover` has it: to a client that names a version so, the others begin with a handshake.
        data={"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": given[:_LONGEST_VERSION]},
    )
