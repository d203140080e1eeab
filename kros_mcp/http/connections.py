"""One connection, on uvicorn's h11 protocol, with the bounds that a service in reach of strangers needs.

h11 and not httptools, which bounds no head and takes the trailers of a request for headers. uvicorn itself bounds
neither the time in which a request comes nor the number of connections, and cuts off whoever still sends when it is
answered.
"""

import asyncio
import logging
import re
import sys
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

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
SWEEP_SECONDS = 1.0
"""How often the times above are looked at."""
AT_ONCE = 32
"""Strangers who are heard in one turn of the event loop; callers with a token are heard beside them."""
_TELL_SECONDS = 60.0
_MOST_WRITTEN_BYTES = 16 * 1024
_BUFFER = bytearray(HEAD_BYTES)
_BLANK: Final = re.compile(rb"(?:\r\n){1,%d}" % BLANK_LINES)
_KNOWN: Final = "caller_is_known"
_REFUSALS: Final = {
    400: ("not_http", "This is not an HTTP request."),
    408: ("too_slow", "The request took too long to come."),
    431: ("head_too_large", "The head of the request is too long."),
    501: ("not_http", "This transfer encoding is not spoken here; send the body as it is, or in chunks."),
    503: ("no_room", "This replica has no room for another connection now. Try again."),
}
"""By status: the reason in the log, and what the client is told."""


def caller_is_known(scope: Scope) -> None:
    """Note that somebody with a token is calling: such a connection gives way only after those of strangers."""
    scope.setdefault("state", {})[_KNOWN] = True


class Connections:
    """All connections of a process, and those among them that wait: for a whole request, or for their end.

    Args:
        most: How many may be open. One more makes the one that has waited longest give way, strangers first; where none
            waits, the new one is refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}
        self._known: dict[Connection, None] = {}
        self._late: deque[tuple[Connection, bytes]] = deque()
        self._heard = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._gave_way = 0
        self._told_at = -_TELL_SECONDS

    def add(self, connection: "Connection") -> bool:
        """Take a new connection in; false if there is no place for it."""
        has_place = len(self._open) < self._most or self._make_room()
        self._open.add(connection)
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)
        return has_place

    def remove(self, connection: "Connection") -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self.works(connection)

    def waits(self, connection: "Connection") -> None:
        """Note that a connection waits from now on, behind all that wait already."""
        self.works(connection)
        (self._known if connection.is_known else self._strangers)[connection] = None

    def works(self, connection: "Connection") -> None:
        """Note that a connection has sent a whole request, which is being answered."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def hear(self, connection: "Connection", data: bytes) -> None:
        """Let a connection read what has come, in its turn.

        Of a thousand strangers who come at once each is read and answered in some tenths of a millisecond. All in one
        turn would hold up every other caller once for each step of its call.
        """
        if connection.is_known or connection.is_left:
            connection.data_received(data)
        elif self._heard < AT_ONCE and not connection.late:
            if not self._heard:
                connection.loop.call_soon(self._next_turn, connection.loop)
            self._heard += 1
            connection.data_received(data)
        else:
            connection.late += 1
            connection.flow.pause_reading()
            self._late.append((connection, data))

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._heard = 0
        while self._late and self._heard < AT_ONCE:
            connection, data = self._late.popleft()
            self._heard += 1
            connection.late -= 1
            if not connection.late:
                connection.flow.resume_reading()
            connection.data_received(data)
        if self._heard:
            loop.call_soon(self._next_turn, loop)

    def _make_room(self) -> bool:
        for waiting in (self._strangers, self._known):
            if waiting:
                oldest = next(iter(waiting))
                self.remove(oldest)
                oldest.abort()
                self._gave_way += 1
                return True
        return False

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._open):
            connection.look_at_the_time(now)
        if self._gave_way and now - self._told_at >= _TELL_SECONDS:
            logger.warning(
                "%s connections gave way to new ones: KROS_MAX_CONNECTIONS is %s here", self._gave_way, self._most
            )
            self._gave_way, self._told_at = 0, now
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep, loop) if self._open else None


def protocol_for(connections: Connections) -> Callable[..., asyncio.BaseProtocol]:
    """Make what uvicorn takes for a class of protocols.

    Args:
        connections: Those of this process.
    """

    def protocol(**of_the_server: Any) -> asyncio.BaseProtocol:  # noqa: ANN401 - uvicorn's own
        return _Reader(connections, Connection(connections, **of_the_server))

    return protocol


class Connection(H11Protocol):
    """A connection from its begin to its end."""

    def __init__(self, connections: Connections, **of_the_server: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**of_the_server)
        self.conn = _Parser(self._is_strangers)
        self.is_known = False
        self._head_lines = 0
        self.late = 0
        self._connections = connections
        self._socket: asyncio.Transport | None = None
        self._waits_for = _HEAD
        self._since = 0.0
        self._stalled_since: float | None = None
        self._drained_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse to."""
        self._socket = cast("asyncio.Transport", transport)
        super().connection_made(cast("asyncio.Transport", _Transport(self._socket, self.loop, self._leave)))
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
        """Read what has come; of a connection that is left, throw it away."""
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
            self._look()
        if self._waits_for is _BODY:
            self.flow.pause_reading()  # until the app asks for it

    @property
    def is_left(self) -> bool:
        """Whether it only ends."""
        return self._waits_for is _END

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self.is_known = self.is_known or _KNOWN in self.scope["state"]
        if self._waits_for is not _END:
            self._look()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Refuse what cannot be read, with the status that h11 suggests."""
        exc = sys.exception()  # uvicorn calls this where it has caught one of h11's
        self._refuse(exc.error_status_hint if isinstance(exc, h11.RemoteProtocolError) else 400)

    def shutdown(self) -> None:
        """Stop after the request in course; what waits is not waited for."""
        if self._waits_for in {_HEAD, _END}:
            self.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Note since when the client reads nothing."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._stalled_since = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """Answer a wish for another protocol in this one, which needs no word in the log."""
        return False

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self._waits_for = _END
        if self._socket is not None:
            self._socket.abort()

    def look_at_the_time(self, now: float) -> None:
        """Leave if what is waited for has not come in time."""
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

    def _is_strangers(self) -> bool:
        """Whether nobody with a token has called here so far."""
        return not self.is_known and (self.scope is None or _KNOWN not in self.scope["state"])

    def _look(self) -> None:
        """Find out what is waited for after something was read or answered."""
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
            self._connections.works(self)
        else:
            self._connections.waits(self)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, unless an answer has begun already; then leave."""
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

    def _leave(self) -> None:
        """Close, once the client had time to read its answer.

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
    """Hands on what comes in pieces of a size of ours.

    An event loop hands on 256 KiB at once, and may do so for every connection before it lets anybody look at one.
    """

    def __init__(self, connections: Connections, connection: Connection) -> None:
        self._connections = connections
        self._connection = connection
        self.connection_made = connection.connection_made  # type: ignore[method-assign]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - as asyncio calls it
        """Say where to write what comes: one place for all connections, since it is taken from there at once."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what has come."""
        self._connections.hear(self._connection, bytes(memoryview(_BUFFER)[:nbytes]))


class _Parser(h11.Connection):
    """h11, with what it leaves to whoever uses it.

    Where it answers before the body has come, or while a stranger has sent more behind, it says that the connection
    ends, and the rest is thrown away. A request with two lengths, which another may read as two requests, is none.

    Args:
        is_strangers: Whether a stranger is answered.
    """

    def __init__(self, is_strangers: Callable[[], bool]) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)
        self._is_strangers = is_strangers
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
            return _of_its_path(event)
        return event

    def _is_blank(self) -> bool:
        """Skip blank lines before a request; whether there is nothing else yet, while they stay and are bounded."""
        waiting = self.trailing_data[0]
        blank = _BLANK.match(waiting)
        length = blank.end() if blank else 0
        if waiting[length:] in {b"", b"\r"}:
            return True
        self._receive_buffer.maybe_extract_at_most(length)
        return False

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if isinstance(event, h11.Response) and (
            self.their_state is h11.SEND_BODY or (self.trailing_data[0] and self._is_strangers())
        ):
            headers = [*event.headers.raw_items(), (b"connection", b"close")]
            event = h11.Response(headers=headers, status_code=event.status_code, reason=event.reason)
        return super().send_with_data_passthrough(event)


def _of_its_path(request: h11.Request) -> h11.Request:
    """Read a target that is a whole address, as proxies are sent, as its path; Host is checked as of any other."""
    scheme, _, rest = request.target.partition(b"://")
    if scheme.lower() not in {b"http", b"https"}:
        return request
    path = b"/" + rest.partition(b"/")[2]
    return h11.Request(method=request.method, target=path, headers=request.headers, http_version=request.http_version)


class _Transport:
    """A transport whose `close` is the connection's to carry out.

    It sends at once what is written in one turn of the event loop: h11 gives head, body and end one by one.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._leave = leave
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
        self._leave()

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)
