"""Sessions of the 2025-11-25 protocol: how many there are, which gives way, and which answers they wait for.

The SDK keeps a session whose `initialize` it has refused, as the stream of the refusal is a success to HTTP; beyond its
bound it opens none as long as idle ones last; and it accepts in silence an answer that nobody waits for. This module
overrides four of its methods, and can go when the SDK does all that itself.
"""

import logging
import math
from collections import defaultdict
from typing import Any
from uuid import uuid4

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, EventMessage, StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import JSONRPCRequest, JSONRPCResponse
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.challenge import tool_forbidden
from kros_mcp.http.request_body import CLIENT_MESSAGE, ClientMessage, json_rpc_error
from kros_mcp.settings import Settings
from kros_mcp.tools.caller import may_use
from kros_mcp.tools.stream import Stream, current_stream

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5
_Caller = tuple[str | None, str | None] | None


class _TooManySessionsError(Exception):
    """No session can be opened; the message says which bound is reached."""


class McpSession(StreamableHTTPServerTransport):
    """One session; it knows which prompts are open on its streams, and since when it has been idle."""

    def __init__(self, session_id: str, idle_seconds: float, resource: str | None) -> None:
        super().__init__(session_id, idle_timeout=idle_seconds)
        self._resource = resource
        self.is_open = False
        """Whether its client was answered that the session is open."""
        self.idle_since = math.inf
        self._prompts: dict[str, Stream] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being handled, its first one included."""
        return not self._requests_in_flight and self.idle_since < math.inf

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        An answer is accepted once, while the stream of its prompt is open, and from a token that may call the tool
        whose prompt it is: that is not always the token of the call.
        A request with the id of another that is still open is refused: the SDK would leave the other without an answer.
        """
        message: ClientMessage = scope[CLIENT_MESSAGE]
        if message.answers is not None:
            prompting = self._prompts.get(message.answers)
            if prompting is None:
                await _refuse_late_answer(scope, receive, send)
                return
            if not may_use(prompting.tool):
                await tool_forbidden(self._resource, prompting.tool)(scope, receive, send)
                return
            del self._prompts[message.answers]
        if message.id is not None and str(message.id) in self._request_streams:
            telemetry.note_refusal("malformed_body")
            sentence = "A request with this id is still open in this session; give each an id of its own."
            await json_rpc_error(400, sentence, {}, request_id=message.id)(scope, receive, send)
            return
        try:
            await super().handle_request(scope, receive, send)
        finally:
            ended = current_stream.get()
            self._prompts = {prompt: stream for prompt, stream in self._prompts.items() if stream is not ended}
            self.idle_since = anyio.current_time()

    def _create_event_data(self, event_message: EventMessage) -> dict[str, Any]:
        """Note the prompts that go out on a stream; the SDK calls this in the task of the request."""
        message, stream = event_message.message, current_stream.get()
        if isinstance(message, JSONRPCRequest) and stream is not None:
            self._prompts[str(message.id)] = stream
        self.is_open = self.is_open or isinstance(message, JSONRPCResponse)
        return super()._create_event_data(event_message)


class BoundedSessionManager(StreamableHTTPSessionManager):
    """The SDK's manager with a bound for each caller beside the one for all; the session idle for longest gives way."""

    def __init__(
        self,
        app: Server[Any],
        settings: Settings,
        *,
        stateless: bool,
        max_request_body_size: int,
        resource: str | None = None,
    ) -> None:
        super().__init__(
            app,
            stateless=stateless,
            session_idle_timeout=settings.session_idle_seconds,
            max_request_body_size=max_request_body_size,
            max_sessions=settings.max_sessions,
        )
        self._most, self._most_of_one = settings.max_sessions, settings.max_sessions_per_caller
        self._idle_seconds = settings.session_idle_seconds
        self._resource = resource

    @property
    def count(self) -> int:
        """Return how many sessions there are."""
        return len(self._server_instances)

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answer = scope[CLIENT_MESSAGE].answers is not None
        if is_answer and (self.stateless or MCP_SESSION_ID_HEADER not in Headers(scope=scope)):
            await _refuse_late_answer(scope, receive, send)
            return
        try:
            await super()._handle_request(scope, receive, send)
        except _TooManySessionsError as exc:
            telemetry.note_refusal("too_many_sessions")
            logger.warning("no session is opened: %s", exc)
            sentence = f"No session can be opened: {exc}. End one, or try again."
            await json_rpc_error(503, sentence, {"retry-after": str(_RETRY_SECONDS)})(scope, receive, send)

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport:
        """Open a session, in place of the one that has been idle for longest if the bound is reached.

        Raises:
            _TooManySessionsError: All are in use.
        """
        self._evict_one(_caller(requestor))
        session_id = uuid4().hex
        session = self._server_instances[session_id] = McpSession(session_id, self._idle_seconds, self._resource)
        if requestor is not None:
            self._session_owners[session_id] = requestor
        return session

    async def _serve_opening_request(
        self, http_transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Keep the session only if its client was told that it is open."""
        assert isinstance(http_transport, McpSession)  # noqa: S101 - `_admit_session` opens no other
        try:
            await super()._serve_opening_request(http_transport, scope, receive, send)
        finally:
            if not http_transport.is_open:
                await self._discard_session(str(http_transport.mcp_session_id), http_transport)

    def _evict_one(self, caller: _Caller) -> None:
        """End one idle session if a bound is reached: of the caller, or of whoever has most idle ones."""
        idle: dict[_Caller, list[McpSession]] = defaultdict(list)
        own = 0
        for session_id, session in self._server_instances.items():
            assert isinstance(session, McpSession)  # noqa: S101 - as above
            owner = _caller(self._session_owners.get(session_id))
            own += owner == caller
            if session.is_idle:
                idle[owner].append(session)
        if own >= self._most_of_one:
            among, full = idle[caller], f"the {self._most_of_one} that one caller may have here are all in use"
        elif len(self._server_instances) >= self._most:
            among, full = max(idle.values(), key=len, default=[]), f"the {self._most} of this replica are all in use"
        else:
            return
        if not among:
            raise _TooManySessionsError(full)
        oldest = min(among, key=lambda session: session.idle_since)
        session_id = str(oldest.mcp_session_id)
        # Forgotten at once, so that the count is right before the next one is admitted.
        del self._server_instances[session_id]
        tasks: Any = self._task_group  # which the SDK's own annotation takes for None
        tasks.start_soon(self._discard_session, session_id, oldest)
        logger.info("a session idle for %.0f s gives way to a new one", anyio.current_time() - oldest.idle_since)


def _caller(owner: AuthorizationContext | None) -> _Caller:
    """Return who has a session, whatever program they use; None where everybody is let in."""
    return (owner["issuer"], owner["subject"]) if owner else None


async def _refuse_late_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse an answer to a prompt that is not open, with 400 as the protocol has it; 404 would end the session."""
    telemetry.note_refusal("late_answer")
    logger.info("an answer to a prompt that is not open is refused")
    sentence = "No such prompt is open, so nothing was charged or changed by this answer. Call the tool again."
    await json_rpc_error(400, sentence, {})(scope, receive, send)
