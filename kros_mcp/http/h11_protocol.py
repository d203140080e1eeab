"""One connection, on uvicorn's h11 protocol, with the bounds that a service on the internet needs.

h11 and not httptools, which bounds no head and takes the trailers of a request for headers. uvicorn itself does
not bound the time in which a request comes, and cuts off a client that still sends when it is answered.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from kros_mcp.http.connection_limits import OpenConnections

logger = logging.getLogger(__name__)

HEAD_BYTES = 32 * 1024
"""A head that is not whole after so many is refused with 431; one that comes at once may have twice as many."""
HEAD_LINES = 128
"""A head of more is refused with 431 unread: the parser takes longer for each line than for a plain request's bytes."""
CHUNKS = 1_024
"""A body in more chunks is refused with 400, for the same reason."""
BLANK_LINES = 4
"""So many before a request are skipped (RFC 9112, 2.2): old clients send one behind a body."""
HEAD_SECONDS = 15.0
"""From a connection's begin, or from a later head's first byte, until that head is whole."""
BODY_SECONDS = 30.0
"""From the end of a head until the body is whole."""
DRAIN_BYTES = 16 * 2**20
DRAIN_SECONDS = 10.0
"""What a client may still send after its answer, which it may read only when it has sent all."""
STALL_SECONDS = 30.0
"""How long a client may read nothing of an answer that it is being sent."""
_MOST_WRITTEN_BYTES = 16 * 1024
_BUFFER = bytearray(HEAD_BYTES)
_BLANK: Final = re.compile(rb"(?:\r\n){1,%d}" % BLANK_LINES)
_AUTHENTICATED: Final = "kros_mcp.is_authenticated"
_REFUSALS: Final = {
    400: ("not_http", "This is not an HTTP request."),
    408: ("too_slow", "The request took too long to come."),
    431: ("head_too_large", "The head of the request is too long."),
    501: ("not_http", "This transfer encoding is not spoken here; send the body as it is, or in chunks."),
    503: ("no_room", "This replica has no room for another connection now. Try again."),
}
"""By status: the reason in the log, and what the client is told."""


def mark_authenticated(scope: Scope) -> None:
    """Note that the caller is authenticated: the connection gives way only after all others that wait."""
    scope.setdefault("state", {})[_AUTHENTICATED] = True


def protocol_for(connections: OpenConnections) -> Callable[..., asyncio.BaseProtocol]:
    """Return what uvicorn takes as the class of its protocols.

    Args:
        connections: Those of this process.
    """

    def protocol(**of_the_server: Any) -> asyncio.BaseProtocol:  # noqa: ANN401 - uvicorn's own
        return _Reader(connections, BoundedH11Protocol(connections, **of_the_server))

    return protocol


class BoundedH11Protocol(H11Protocol):
    """One connection, from its begin to its end."""

    def __init__(self, connections: OpenConnections, **of_the_server: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**of_the_server)
        self.conn = _Parser(self._is_unauthenticated)
        self.is_authenticated = False
        self._head_lines = 0
        self.deferred_reads = 0
        self._connections = connections
        self._socket: asyncio.Transport | None = None
        self._waits_for = _HEAD
        self._since = 0.0
        self._stalled_since: float | None = None
        self._drained_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or answer that there is no room."""
        self._socket = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.Transport", _Transport(self._socket, self.loop, self._close_lingering)))
        if self._connections.add(self):
            self._wait_for(_HEAD)
        else:
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._waits_for = _END
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come; throw it away if the connection is closing."""
        if self._waits_for is _END:
            self._drained_bytes += len(data)
            if self._drained_bytes > DRAIN_BYTES:
                self.abort()
            return
        if self._waits_for in {_HEAD, _REQUEST}:
            head = data if self.conn.trailing_data[0].strip(b"\r\n") else data.lstrip(b"\r\n")
            self._head_lines += head.partition(b"\r\n\r\n")[0].count(b"\n")
            if self._head_lines > HEAD_LINES:
                self._refuse(431)
                return
        super().data_received(data)
        if self._waits_for is not _END:
            self._update_wait()
        if self._waits_for is _BODY:
            self.flow.pause_reading()  # until the app asks for it

    @property
    def is_closing(self) -> bool:
        """Whether it is only kept open until its client has read the answer."""
        return self._waits_for is _END

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self.is_authenticated = self.is_authenticated or _AUTHENTICATED in self.scope["state"]
        if self._waits_for is not _END:
            self._update_wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Refuse what cannot be read, with the status that h11 suggests."""
        exc = sys.exception()  # uvicorn calls this where it has caught one of h11's
        self._refuse(exc.error_status_hint if isinstance(exc, h11.RemoteProtocolError) else 400)

    def shutdown(self) -> None:
        """Stop after the request in course; a connection that waits for one is closed at once."""
        if self._waits_for in {_HEAD, _END}:
            self.abort()
        else:
            super().shutdown()

    def pause_reading(self) -> None:
        """Let nothing more come for now."""
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Let more come."""
        self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Note since when the client reads nothing."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._stalled_since = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """Answer a request to upgrade in HTTP, without uvicorn's warning."""
        return False

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self._waits_for = _END
        if self._socket is not None:
            self._socket.abort()

    def check_time(self, now: float) -> None:
        """Close if what is waited for has not come in time."""
        waited = now - self._since
        if self._stalled_since is not None and now - self._stalled_since > STALL_SECONDS:
            self.abort()
        elif self._waits_for is _END:
            if waited > DRAIN_SECONDS:
                self.abort()
        elif self._waits_for is _BODY:
            if waited > BODY_SECONDS:
                self._refuse(408)
        elif self._waits_for is _HEAD and waited > HEAD_SECONDS:
            if self.conn.trailing_data[0].strip(b"\r\n"):
                self._refuse(408)
            else:
                self.transport.close()

    def _is_unauthenticated(self) -> bool:
        """Whether no authenticated caller has called on this connection so far."""
        return not self.is_authenticated and (self.scope is None or _AUTHENTICATED not in self.scope["state"])

    def _update_wait(self) -> None:
        """Set what is waited for, after something was read or answered."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._wait_for(_BODY)
        elif state is not h11.IDLE:
            self._wait_for(_ANSWER)
        elif self.conn.trailing_data[0]:
            self._wait_for(_HEAD)
        elif self.cycle is not None:
            self._wait_for(_REQUEST)

    def _wait_for(self, what: str) -> None:
        if what is self._waits_for and self._since:
            return
        self._waits_for, self._since, self._head_lines = what, self.loop.time(), 0
        if what is _ANSWER:
            self._connections.mark_busy(self)
        else:
            self._connections.mark_waiting(self)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, unless an answer has begun already; then close."""
        reason, sentence = _REFUSALS.get(status, _REFUSALS[400])
        logger.info("a connection was refused", extra={"status": status, "reason": reason})
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            content = f"{sentence}\n".encode()
            headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(content)))]
            headers += [("connection", "close"), *([("retry-after", "1")] if status == 503 else [])]  # noqa: PLR2004
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
                h11.Data(data=content),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _close_lingering(self) -> None:
        """Close once the client has had time to read its answer.

        A socket that is closed while its client sends is reset, and the client, which may read only after it has sent
        all, never sees the answer. So its reading side stays open, within a bound.
        """
        if self._socket is None or self._waits_for is _END:
            return
        unread = self.cycle is None or self.conn.their_state in {h11.SEND_BODY, h11.ERROR} or self.conn.trailing_data[0]
        self._wait_for(_END)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.cycle = None  # type: ignore[assignment]  # as uvicorn itself begins
        self.conn = h11.Connection(h11.SERVER)  # what the other has read is not kept
        if unread and self._socket.can_write_eof():
            self._socket.write_eof()
            self.flow.resume_reading()
        else:
            self._socket.close()


_HEAD, _BODY, _ANSWER, _REQUEST, _END = "head", "body", "answer", "request", "end"


class _Reader(asyncio.BufferedProtocol):
    """Reads in pieces of at most `HEAD_BYTES`.

    An event loop hands on 256 KiB at once, and may do so for every connection before any of it is parsed.
    """

    def __init__(self, connections: OpenConnections, connection: BoundedH11Protocol) -> None:
        self._connections = connections
        self._connection = connection
        self.connection_made = connection.connection_made  # type: ignore[method-assign]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - as asyncio calls it
        """Return where to write what comes: one buffer for all connections, since it is copied from there at once."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what has come."""
        self._connections.read(self._connection, bytes(memoryview(_BUFFER)[:nbytes]))


class _Parser(h11.Connection):
    """h11 with the checks that it leaves to its users.

    Where an answer begins before the body has come, or an unauthenticated client has sent more behind its request, the
    answer says that the connection closes, and the rest is thrown away. A request with two lengths, which another
    parser may read as two requests, is refused.

    Args:
        is_unauthenticated: Whether the client is unauthenticated so far.
    """

    def __init__(self, is_unauthenticated: Callable[[], bool]) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)
        self._is_unauthenticated = is_unauthenticated
        self._chunks = 0

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        if self.their_state is h11.IDLE and self._is_blank():
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            if self._chunks > CHUNKS:
                raise h11.RemoteProtocolError("too many chunks")
        elif isinstance(event, h11.Request):
            self._chunks = 0
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("two lengths")
            return _with_path_alone(event)
        return event

    def _is_blank(self) -> bool:
        """Skip blank lines before a request; return whether nothing else has come yet, for then they are kept."""
        waiting = self.trailing_data[0]
        blank = _BLANK.match(waiting)
        length = blank.end() if blank else 0
        if waiting[length:] in {b"", b"\r"}:
            return True
        self._receive_buffer.maybe_extract_at_most(length)
        return False

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if isinstance(event, h11.Response) and (
            self.their_state is h11.SEND_BODY or (self.trailing_data[0] and self._is_unauthenticated())
        ):
            headers = [*event.headers.raw_items(), (b"connection", b"close")]
            event = h11.Response(headers=headers, status_code=event.status_code, reason=event.reason)
        return super().send_with_data_passthrough(event)


def _with_path_alone(request: h11.Request) -> h11.Request:
    """Replace a target that is a whole URL, as proxies are sent, by its path; Host is checked as of any other."""
    scheme, _, rest = request.target.partition(b"://")
    if scheme.lower() not in {b"http", b"https"}:
        return request
    path = b"/" + rest.partition(b"/")[2]
    return h11.Request(method=request.method, target=path, headers=request.headers, http_version=request.http_version)


class _Transport:
    """A transport whose `close` the connection carries out.

    What is written in one turn of the event loop is sent in one piece: h11 gives head, body and end one by one.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, close: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._close = close
        self._is_closing = False
        self._written = bytearray()

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self.flush)
        self._written += data
        if len(self._written) >= _MOST_WRITTEN_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._written:
            written, self._written = self._written, bytearray()
            if not self._transport.is_closing():
                self._transport.write(written)

    def close(self) -> None:
        self.flush()
        self._is_closing = True
        self._close()

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)
