"""uvicorn for one browser on this machine: silent, without signals of its own, bounded in connections and time."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HOST = "127.0.0.1"
"""By number: what `localhost` names first is `::1`, where another user's program could listen at the same port."""
MOST_CONNECTIONS = 32
LONGEST_SECONDS = 10.0
"""How long a connection may last; each carries one request."""
STOP_SECONDS = 1.0
_MOST_HEAD_BYTES = 16 * 1024


class _Connection(H11Protocol):
    """One connection among a few; where there are too many, the oldest that has asked for nothing gives way."""

    def __init__(self, open_ones: "dict[_Connection, None]", **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**given)
        self._open_ones = open_ones
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        super().connection_made(transport)
        if len(self._open_ones) >= MOST_CONNECTIONS:
            idle = next((one for one in self._open_ones if one.cycle is None), None)
            if idle is None:
                transport.abort()
                return
            idle.leave()
        self._open_ones[self] = None
        self._end = self.loop.call_later(LONGEST_SECONDS, self.leave)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        self._open_ones.pop(self, None)
        if self._end is not None:
            self._end.cancel()

    def leave(self) -> None:
        """Close at once."""
        self._open_ones.pop(self, None)
        self.transport.abort()


class _SilentServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()
        self.ended = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept browsers."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_at(self, listener: socket.socket) -> None:
        """Serve until `should_exit` is set."""
        try:
            await self.serve(sockets=[listener])
        finally:
            self.ended.set()


@asynccontextmanager
async def open_loopback(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an app at a free port of this machine; yields the port.

    Raises:
        OSError: Nothing can be listened at.
    """
    # It warns of each malformed request, and a flood of them would crowd out what else is said.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((HOST, 0))
        server = _SilentServer(_config(app))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run_at, listener)
            await server.ready.wait()
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True
                with anyio.move_on_after(2 * STOP_SECONDS, shield=True):
                    await server.ended.wait()
                tasks.cancel_scope.cancel()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(_Connection, {})),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # which would hold the one-use path
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
