"""The stdio transport: serves one client over stdin and stdout, between its pipes and the SDK's loop.

The SDK's own transport drops a line that it cannot read, cancels pending requests when stdin ends, lets the first
request fix the protocol's era even where that only asks which there are, and waits for stdin to end before it ends
itself. This one answers such lines (`kros_mcp.jsonrpc`), and ends in order: it reads no more, lets pending requests be
answered for a bounded time, and only then closes the loop.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from kros_mcp.jsonrpc import BYTE_ORDER_MARK, LONGEST_MESSAGE_BYTES, MalformedError, read_message, too_long

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 100
"""Requests under way, as over HTTP. Where that many are, the next waits for an answer to go out."""
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
"""The same for all their lines together; what is made of a line may take twenty times its length."""
LONGEST_WAIT_SECONDS = 5.0
"""If no answer goes out for so long, they wait for people, and further requests are refused."""
LAST_WORDS_SECONDS = 1.0
"""How long the loop's last errors may take to be written, once no more is read."""

_CHUNK_BYTES = 64 * 1024
_TOO_MANY = "Too many requests are under way; wait for the answers to those sent before. Nothing was done."
_GONE = "The client sends nothing any more."
_NOT_WRITABLE = "The answer could not be written as JSON."
_ENDLESS = frozenset({"subscriptions/listen"})
"""Methods whose requests last as long as the connection, so that nothing waits for their answer."""

Incoming = SessionMessage | Exception


Loop = Callable[
    [MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]], Coroutine[Any, Any, None]
]
"""The SDK's loop: it serves what it reads until that ends, and closes what it writes to."""


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Reserve stdin and stdout for the protocol, and yield the file descriptors to read from and to write to.

    Meanwhile anything else that reads stdin finds it empty, and whatever is printed goes to stderr.
    """
    reads, writes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if sys.platform != "win32":
        for one in (reads, writes):
            os.set_blocking(one, True)  # a parent may have left it otherwise
    try:
        yield reads, writes
    finally:
        # The duplicates stay open: a thread may still wait on them.
        os.dup2(reads, 0)
        os.dup2(writes, 1)


class Stdio:
    """One connection over a pair of file descriptors.

    Args:
        reads: Where the client's lines come from.
        writes: Where the server's lines go.
        stopping: Set to end the connection, and set by this class when the client ends it.
        longest_answer_seconds: How long pending requests may take to be answered after that.
    """

    def __init__(self, reads: int, writes: int, stopping: anyio.Event, longest_answer_seconds: float) -> None:
        self._reads, self._writes = reads, writes
        self.stopping = stopping
        self._longest_answer_seconds = longest_answer_seconds
        self._to_client, self._outgoing = anyio.create_memory_object_stream[SessionMessage]()
        self._to_loop, self._incoming = anyio.create_memory_object_stream[Incoming]()
        self._waiting = anyio.CancelScope()
        self._under_way: dict[RequestId, list[int]] = {}  # the bytes of each request of that id
        self._requests_under_way = self._bytes_under_way = 0
        self._settled = anyio.Event()
        self._is_stuck = False
        self._prompts: set[RequestId] = set()
        self._is_serving = False
        self._is_reading = True
        self._era_is_open = True
        self._refused = 0

    @property
    def is_open(self) -> bool:
        """Whether the client is being served, and no end has been asked for."""
        return self._is_serving and not self.stopping.is_set()

    async def serve(self, loop: Loop) -> None:
        """Serve until the client closes stdin or stdout, or `stopping` is set; then answer what was read before."""
        writing, written = anyio.CancelScope(shield=True), anyio.Event()

        async def write() -> None:
            with writing:
                await self._write(tasks)
            written.set()

        self._is_serving = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            try:
                async with anyio.create_task_group() as reading:
                    reading.start_soon(self._end_reading)
                    reading.start_soon(self._read, loop)
                    await loop(self._incoming, self._to_client.clone())
                    reading.cancel_scope.cancel()
            finally:
                self._to_client.close()
                with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                    await written.wait()
                writing.cancel()
                for stream in (self._outgoing, self._to_loop, self._incoming):
                    stream.close()

    async def _end_reading(self) -> None:
        await self.stopping.wait()
        self._waiting.cancel()

    async def _read(self, loop: Loop) -> None:
        async for line in self._lines():
            await self._take(line, loop)
        self.stopping.set()
        self._is_reading = False
        for request_id in tuple(self._prompts):
            await self._end_prompt(request_id)
        with anyio.move_on_after(self._longest_answer_seconds):
            while self._under_way:
                await self._settled.wait()
        self._to_loop.close()

    async def _lines(self) -> AsyncIterator[bytes | MalformedError]:
        """Yield line by line; one that is too long is yielded as an error, and not kept."""
        rest, is_overlong = b"", False
        while chunk := await self._chunk():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not is_overlong and line.strip():
                    yield line if len(line) <= LONGEST_MESSAGE_BYTES else too_long(line)
                is_overlong = False
            if not is_overlong and len(rest) > LONGEST_MESSAGE_BYTES:
                yield too_long(rest)
                is_overlong = True
            rest = b"" if is_overlong else rest
        if rest.strip() and not self.stopping.is_set():
            yield rest

    async def _chunk(self) -> bytes:
        """Return what the client sends next; empty at the end."""
        chunk = b""
        with self._waiting:
            # Nothing can interrupt the thread, so it is abandoned if the connection ends in another way.
            chunk = await anyio.to_thread.run_sync(self._read_chunk, abandon_on_cancel=True)
        self._waiting = anyio.CancelScope()
        if self.stopping.is_set():
            self._waiting.cancel()
        return chunk

    def _read_chunk(self) -> bytes:
        try:
            return os.read(self._reads, _CHUNK_BYTES)
        except OSError:  # a terminal that hung up
            return b""

    async def _take(self, line: bytes | MalformedError, loop: Loop) -> None:
        try:
            # Shells on Windows begin what they pipe with such a mark.
            message = read_message(line.removeprefix(BYTE_ORDER_MARK)) if isinstance(line, bytes) else line
        except MalformedError as exc:
            message = exc
        match message:
            case MalformedError():
                self._note_refused()
                for answer in message.answers():
                    await self._to_client.send(SessionMessage(answer))
            case JSONRPCRequest():
                await self._take_request(message, len(line) if isinstance(line, bytes) else 0, loop)
            case JSONRPCResponse(id=request_id) | JSONRPCError(id=request_id):
                self._prompts.discard(request_id or "")
                await self._to_loop.send(SessionMessage(message))
            case _:
                await self._to_loop.send(SessionMessage(message))

    async def _take_request(self, request: JSONRPCRequest, size: int, loop: Loop) -> None:
        if not await self._has_room(size):
            await self._to_client.send(SessionMessage(_error(request.id, INVALID_REQUEST, _TOO_MANY)))
            return
        if self._era_is_open and request.method == "server/discover":
            await self._answer_alone(request, size, loop)
            return
        self._era_is_open = False
        await self._to_loop.send(self._note_request(request, size))

    async def _has_room(self, size: int) -> bool:
        """Wait until a request may begin; false if no other ends, since the answers to prompts are read here too."""
        while self._requests_under_way >= MOST_AT_ONCE or self._bytes_under_way + size > MOST_BYTES_AT_ONCE:
            if not self._is_stuck:
                with anyio.move_on_after(LONGEST_WAIT_SECONDS) as scope:
                    await self._settled.wait()
                self._is_stuck = scope.cancelled_caught
            if self._is_stuck:
                return False
        return True

    async def _answer_alone(self, request: JSONRPCRequest, size: int, loop: Loop) -> None:
        """Answer a request in a loop of its own, so that the next one may be of either era."""
        send, receive = anyio.create_memory_object_stream[Incoming](1)
        send.send_nowait(self._note_request(request, size))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop, receive, self._to_client.clone())
            while request.id in self._under_way:
                await self._settled.wait()
            send.close()

    def _note_request(self, request: JSONRPCRequest, size: int) -> SessionMessage:
        """Note a request, since the end of the connection waits for its answer; return it for the loop."""
        if request.method in _ENDLESS:
            return SessionMessage(request)
        self._under_way.setdefault(request.id, []).append(size)
        self._requests_under_way += 1
        self._bytes_under_way += size

        async def unanswered() -> None:
            self._settle(request.id)

        return SessionMessage(request, ServerMessageMetadata(on_request_unanswered=unanswered))

    def _settle(self, request_id: RequestId | None) -> None:
        if request_id is None or (sizes := self._under_way.get(request_id)) is None:
            return
        self._requests_under_way -= 1
        self._bytes_under_way -= sizes.pop()
        if not sizes:
            del self._under_way[request_id]
        self._is_stuck = False
        self._settled.set()
        self._settled = anyio.Event()

    async def _end_prompt(self, request_id: RequestId) -> None:
        """Tell the loop that a prompt will not be answered any more."""
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._to_loop.send(SessionMessage(_error(request_id, CONNECTION_CLOSED, _GONE)))

    async def _write(self, tasks: TaskGroup) -> None:
        is_broken = False
        async for outgoing in self._outgoing:
            if is_broken:
                continue  # whatever else sends must not wait
            message = outgoing.message
            if isinstance(message, JSONRPCRequest):
                if not self._is_reading:
                    tasks.start_soon(self._end_prompt, message.id)
                    continue
                self._prompts.add(message.id)
            try:
                await anyio.to_thread.run_sync(self._write_all, _line(message), abandon_on_cancel=True)
            except OSError:
                logger.warning("stdout is closed, so the server stops")
                is_broken = True
                self.stopping.set()
                tasks.cancel_scope.cancel()
            if isinstance(message, JSONRPCResponse | JSONRPCError):
                self._settle(message.id)

    def _write_all(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._writes, line) :]

    def _note_refused(self) -> None:
        """Log the 1st, 2nd, 4th, 8th unreadable line: a flood of them must not fill a stderr that nobody reads."""
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:
            logger.warning("refused a line on stdin that is no message of JSON-RPC; %d so far", self._refused)


def _line(message: JSONRPCMessage) -> bytes:
    try:
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:  # half of a surrogate pair in a name: one answer must not end them all
        logger.exception("an answer could not be written as JSON")
        request_id = message.id if isinstance(message, JSONRPCResponse) else None
        text = _error(request_id, INTERNAL_ERROR, _NOT_WRITABLE).model_dump_json(by_alias=True)
    return text.encode() + b"\n"


def _error(request_id: RequestId | None, code: int, message: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))
