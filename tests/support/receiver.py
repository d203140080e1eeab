"""A receiver of webhooks on loopback: it keeps what arrives, and answers as it is told to, or not at all."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import SocketStream

SECRET = "whsec_cafe0123cafe0123cafe0123cafe0123cafe0123"  # noqa: S105 - made up
"""Of 30 bytes; its beginning is what the search for secrets finds."""
CANARY = "canary5e5e5e5e5e5e"
"""Stands in the path, which may hold a token."""


@dataclass(frozen=True)
class Arrived:
    """One request; `headers` by their names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def type(self) -> str:
        return str(self.json["type"])


@dataclass
class Receiver:
    """What has arrived; `status` is the next answer's, None for none at all."""

    port: int = 0
    status: int | None = 200
    location: str = ""
    arrived: list[Arrived] = field(default_factory=list)
    on_arrival: Callable[[Arrived], None] = lambda _: None
    _let_go: anyio.Event = field(default_factory=anyio.Event)
    _news: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{CANARY}"

    @property
    def settings(self) -> dict[str, Any]:
        return {"webhook_url": self.url, "webhook_secret": SECRET}

    @property
    def taken(self) -> list[Arrived]:
        """What was answered by a success."""
        return [each for each in self.arrived if each.status == 200]

    def types(self) -> list[str]:
        return [each.type for each in self.taken]

    async def until(self, enough: Callable[["Receiver"], bool], *, seconds: float = 20.0) -> None:
        """Wait until what has arrived is enough."""
        with anyio.fail_after(seconds):
            while not enough(self):
                self._news = anyio.Event()
                await self._news.wait()

    def let_go(self) -> None:
        """Answer what hangs, by the status of now."""
        self._let_go.set()
        self._let_go = anyio.Event()

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            head, _, body = (await _received(stream, b"\r\n\r\n")).partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            while len(body) < int(headers.get("content-length", 0)):
                body += await stream.receive()
            hangs, let_go = self.status is None, self._let_go
            seen = Arrived(first.split(" ")[1], headers, body, self.status or 0)
            self.arrived.append(seen)
            self.on_arrival(seen)
            self._news.set()
            if hangs:
                await let_go.wait()
                self.arrived[self.arrived.index(seen)] = replace(seen, status=self.status or 0)
            location = f"location: {self.location}\r\n" if self.location else ""
            await stream.send(f"HTTP/1.1 {self.status or 200} OK\r\n{location}content-length: 0\r\n\r\n".encode())


@asynccontextmanager
async def open_receiver(port: int = 0, **options: Any) -> AsyncIterator[Receiver]:
    """Listen at any free port, or at one that was used before."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, reuse_port=bool(port))
    used = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
    receiver = Receiver(used, **options)

    async def served(stream: SocketStream) -> None:
        try:
            await receiver.serve(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, served)
        try:
            yield receiver
        finally:
            tasks.cancel_scope.cancel()


async def _received(stream: SocketStream, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += await stream.receive()
    return data
