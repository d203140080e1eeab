"""A round-robin reverse proxy on loopback, as simple as one can be that loses nothing and repeats nothing.

One request, one connection on either side, and bytes passed on as they come, so that streams are not held up.
A replica that refuses the connection is skipped, since it has certainly received nothing; after that a request
belongs to its replica, and if that dies the client is told by a 502 or by the end of the connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_LONGEST_HEAD = 64 * 1024
_CHUNK = 64 * 1024
_REST = 4
_SESSION = "mcp-session-id"
CLIENT = "x-fleet-client"
"""A header by which tests tell their clients apart."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a message, names in lower case."""

    first: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def closing(self) -> bytes:
        """Write it down again, with one request to a connection."""
        kept = [f"{key}: {value}" for key, value in self.headers if key != "connection"]
        return "\r\n".join([self.first, *kept, "connection: close", "", ""]).encode("latin-1")


class Proxy:
    """Passes requests to replicas in turn.

    Args:
        places: How many replicas there are; `ports` says where each listens, None while it does not.
        sticky: Take a request with an `Mcp-Session-Id` to the replica that gave it out, as long as it listens.
        patience_seconds: How long a replica may take to begin its answer; the client is told 504 then, and the
            replica gets no more for four times as long, unless no other listens.
    """

    def __init__(self, places: int, *, sticky: bool = True, patience_seconds: float = 60) -> None:
        self.ports: list[int | None] = [None] * places
        self.served: list[int] = []
        """Which replica each request went to."""
        self.last_of: dict[str, int] = {}
        """By client, the replica that its latest request went to."""
        self.on_answer: Callable[[int, int], None] = lambda _place, _status: None
        """Called with the replica and the status of each answer."""
        self._sticky, self._patience = sticky, patience_seconds
        self._sessions: dict[str, int] = {}
        self._resting: dict[int, float] = {}
        self._turn = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen; yields the URL of the fleet."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_HEAD, backlog=512)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        finally:
            server.close()
            for task in [each for each in asyncio.all_tasks() if each.get_name().startswith("proxied ")]:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.set_name(f"proxied {id(writer)}")
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await _read_head(reader)
            body = await reader.readexactly(int(head.get("content-length") or 0))
            await self._pass_on(head, body, reader, writer)
        writer.close()

    async def _pass_on(
        self, head: Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for place in self._choices(head):
            port = self.ports[place]
            try:
                upstream = await asyncio.open_connection("127.0.0.1", port, limit=_LONGEST_HEAD)
            except OSError:
                continue
            self.served.append(place)
            self.last_of[head.get(CLIENT)] = place
            try:
                await self._exchange(place, head.closing() + body, upstream, (reader, writer))
            finally:
                upstream[1].close()
            return
        writer.write(_answer("503 Service Unavailable", "No replica accepts connections."))

    async def _exchange(
        self,
        place: int,
        request: bytes,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Send the request, and pass the answer on until either side has had enough."""
        answer = asyncio.ensure_future(self._answer(place, request, upstream, client[1]))
        gone = asyncio.ensure_future(client[0].read(1))  # a client sends one request: more is its end
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _answer(
        self,
        place: int,
        request: bytes,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        writer: asyncio.StreamWriter,
    ) -> None:
        from_replica, to_replica = upstream
        try:
            async with asyncio.timeout(self._patience):
                to_replica.write(request)
                await to_replica.drain()
                head = await _read_head(from_replica)
        except TimeoutError:
            self._resting[place] = asyncio.get_running_loop().time() + _REST * self._patience
            writer.write(_answer("504 Gateway Timeout", "The replica does not answer."))
            return
        except (OSError, asyncio.IncompleteReadError):
            writer.write(_answer("502 Bad Gateway", "The replica went away."))
            return
        if session := head.get(_SESSION):
            self._sessions[session] = place
        self.on_answer(place, int(head.first.split()[1]))
        writer.write(head.closing())
        with suppress(OSError):
            while chunk := await from_replica.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()

    def _choices(self, head: Head) -> Iterator[int]:
        """Name the replicas to try, in order."""
        places = len(self.ports)
        first = self._turn = (self._turn + 1) % places
        session = head.get(_SESSION)
        if self._sticky and session in self._sessions:
            first = self._sessions[session]
        now = asyncio.get_running_loop().time()
        turns = [(first + step) % places for step in range(places)]
        listening = [place for place in turns if self.ports[place] is not None]
        awake = [place for place in listening if self._resting.get(place, 0.0) <= now]
        yield from awake or listening


async def _read_head(reader: asyncio.StreamReader) -> Head:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(first, tuple((name.strip().lower(), value.strip()) for name, _, value in pairs))


def _answer(status: str, sentence: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(sentence)}\r\n"
        f"connection: close\r\n\r\n{sentence}"
    ).encode()
