"""Sessions of the 2025-11-25 protocol: how many there are, which gives way, and which answers they wait for.

The SDK keeps a session whose `initialize` it has refused, as the stream of the refusal is a success to HTTP; it opens
none beyond its bound for as long as idle ones last; and it takes in silence an answer that nobody waits for. What
differs here hangs on four of its methods, and can go when it does so itself.
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
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.challenge import refusal
from kros_mcp.http.envelope import Envelope
from kros_mcp.settings import Settings
from kros_mcp.tools.stream import Stream, current_stream

logger = logging.getLogger(__name__)

ENVELOPE = "kros_mcp.envelope"
"""In the scope of a request: the `Envelope` of its body."""
_RETRY_SECONDS = 5
_Caller = tuple[str | None, str | None] | None


class _NoRoomError(Exception):
    """No session can be opened; it says which bound is reached."""


class Session(StreamableHTTPServerTransport):
    """One session; it knows which prompts are open on its streams, and since when it has been idle."""

    def __init__(self, session_id: str, idle_seconds: float) -> None:
        super().__init__(session_id, idle_timeout=idle_seconds)
        self.is_open = False
        """Whether its client was answered that the session is open."""
        self.idle_since = math.inf
        self._prompts: dict[str, Stream] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being handled, its first one included."""
        return not self._requests_in_flight and self.idle_since < math.inf

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; an answer is taken once, and only while the stream of its prompt is there.

        A request whose id another has that is still open is refused: the SDK would leave that one without an answer.
        """
        envelope: Envelope = scope[ENVELOPE]
        if envelope.answers is not None and self._prompts.pop(envelope.answers, None) is None:
            await _refuse_late_answer(scope, receive, send)
            return
        if envelope.id is not None and str(envelope.id) in self._request_streams:
            telemetry.refused("malformed_body")
            await _id_in_use(envelope.id)(scope, receive, send)
            return
        try:
            await super().handle_request(scope, receive, send)
        finally:
            stream = current_stream.get()
            self._prompts = {prompt: shown_on for prompt, shown_on in self._prompts.items() if shown_on is not stream}
            self.idle_since = anyio.current_time()

    def _create_event_data(self, event_message: EventMessage) -> dict[str, Any]:
        """Note what goes out on a stream, in the task of its request."""
        message, stream = event_message.message, current_stream.get()
        if isinstance(message, JSONRPCRequest) and stream is not None:
            self._prompts[str(message.id)] = stream
        self.is_open = self.is_open or isinstance(message, JSONRPCResponse)
        return super()._create_event_data(event_message)


class SessionManager(StreamableHTTPSessionManager):
    """The SDK's manager, with a bound for each caller beside the one for all; the oldest idle session gives way."""

    def __init__(self, app: Server[Any], settings: Settings, *, stateless: bool, max_request_body_size: int) -> None:
        super().__init__(
            app,
            stateless=stateless,
            session_idle_timeout=settings.session_idle_seconds,
            max_request_body_size=max_request_body_size,
            max_sessions=settings.max_sessions,
        )
        self._most, self._most_of_one = settings.max_sessions, settings.max_sessions_per_caller
        self._idle_seconds = settings.session_idle_seconds

    @property
    def count(self) -> int:
        """How many sessions there are."""
        return len(self._server_instances)

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answer = scope[ENVELOPE].answers is not None
        if is_answer and (self.stateless or MCP_SESSION_ID_HEADER not in Headers(scope=scope)):
            await _refuse_late_answer(scope, receive, send)
            return
        try:
            await super()._handle_request(scope, receive, send)
        except _NoRoomError as exc:
            telemetry.refused("too_many_sessions")
            logger.warning("no session is opened: %s", exc)
            sentence = f"No session can be opened: {exc}. End one, or try again."
            await refusal(503, sentence, {"retry-after": str(_RETRY_SECONDS)})(scope, receive, send)

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport:
        """Open a session, in the place of the one that has been idle longest if there is no other.

        Raises:
            _NoRoomError: All are in use.
        """
        self._make_room(_caller(requestor))
        session_id = uuid4().hex
        session = self._server_instances[session_id] = Session(session_id, self._idle_seconds)
        if requestor is not None:
            self._session_owners[session_id] = requestor
        return session

    async def _serve_opening_request(
        self, http_transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Keep the session only if its client was told that it is open."""
        assert isinstance(http_transport, Session)  # noqa: S101 - `_admit_session` opens no other
        try:
            await super()._serve_opening_request(http_transport, scope, receive, send)
        finally:
            if not http_transport.is_open:
                await self._discard_session(str(http_transport.mcp_session_id), http_transport)

    def _make_room(self, caller: _Caller) -> None:
        """End one session if there is no room for another: the caller's own, or of whoever has most idle ones."""
        idle: dict[_Caller, list[Session]] = defaultdict(list)
        own = 0
        for session_id, session in self._server_instances.items():
            assert isinstance(session, Session)  # noqa: S101 - as above
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
            raise _NoRoomError(full)
        oldest = min(among, key=lambda session: session.idle_since)
        session_id = str(oldest.mcp_session_id)
        # Forgotten at once, so that the count is right before the next one is admitted.
        del self._server_instances[session_id]
        tasks: Any = self._task_group  # which the SDK's own annotation takes for None
        tasks.start_soon(self._discard_session, session_id, oldest)
        logger.info("a session idle for %.0f s gives way to a new one", anyio.current_time() - oldest.idle_since)


def _caller(owner: AuthorizationContext | None) -> _Caller:
    """Who has a session, whatever program they use; nobody in particular where everybody is let in."""
    return (owner["issuer"], owner["subject"]) if owner else None


def _id_in_use(request_id: str | int) -> Response:
    sentence = "A request with this id is still open in this session; give each an id of its own."
    return refusal(400, sentence, {}, request_id=request_id)


async def _refuse_late_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse an answer to no open prompt; 400 is what the protocol has for it, and 404 would end the session."""
    telemetry.refused("late_answer")
    logger.info("an answer to a prompt that is not open is refused")
    sentence = "No such prompt is open, so nothing was charged or changed by this answer. Call the tool again."
    await refusal(400, sentence, {})(scope, receive, send)
