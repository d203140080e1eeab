"""uvicorn as this service runs it: one socket, one or several workers, and a shutdown with a bound."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kros_mcp.http.app import open_service
from kros_mcp.http.connection_limits import OpenConnections, limits_for
from kros_mcp.http.h11_protocol import protocol_for
from kros_mcp.http.request_body import json_rpc_error
from kros_mcp.settings import Settings

if TYPE_CHECKING:
    from kros_mcp.http.access import Access

GRACE_SECONDS = 5
"""How long a request may go on once the service is told to stop; acts that it began go on after that."""

SILENT_SECONDS = 30.0
"""How long what was sent may stay unconfirmed by the other machine, before the connection counts as gone.

A machine that has vanished closes no connection. Streams are sent a comment every 15 seconds, so that a prompt there
ends within a minute instead of the quarter of an hour for which the system would go on trying.
"""


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def bind(address: ListenAddress) -> socket.socket:
    """Listen at an address.

    Raises:
        OSError: It cannot be listened at.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # asyncio sends small answers at once only over sockets that say that they are TCP.
    listener = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; whoever it accepts inherits it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENT_SECONDS * 1000))
    listener.bind(found[4])
    listener.set_inheritable(True)
    return listener


async def serve(
    settings: Settings,
    access: "Access | None",
    listener: socket.socket,
    *,
    loopback: bool,
    stateless: bool,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT comes, then finish what is under way, within a bound.

    Args:
        settings: What the environment decides.
        access: Who may call; None lets everybody in.
        listener: Where to listen; until all is open nobody is accepted there, so that a proxy asks another replica.
        loopback: Whether only this machine can reach it.
        stateless: Keep no session for legacy clients.
        ready: Called once callers are accepted.
        stopping: Called when a signal has come, before anything is ended.

    Raises:
        KrosError: The service cannot be opened.
    """
    with _Signals() as signals:
        async with open_service(settings, access, loopback=loopback, stateless=stateless) as service:

            def stop() -> None:
                stopping()
                service.stop()

            server = _Server(uvicorn_config(service.app, settings), ready, stop)
            signals.stop_on_signal(server)
            # What is open now stays open: looking through it for garbage holds up one call in a hundred.
            gc.enable()
            gc.collect()
            gc.freeze()
            await server.serve(sockets=[listener])


def uvicorn_config(app: ASGIApp, settings: Settings, *, grace_seconds: int = GRACE_SECONDS) -> uvicorn.Config:
    """Return how uvicorn serves an app: without its logs, believing forwarded addresses of trusted proxies alone."""
    limits = limits_for(settings.max_connections)
    return uvicorn.Config(
        _ShutdownAnswer(app),
        http=cast("type[asyncio.Protocol]", protocol_for(OpenConnections(limits.connections))),
        backlog=limits.backlog,
        timeout_keep_alive=settings.keep_alive_seconds,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=grace_seconds,
    )


class _ShutdownAnswer:
    """Answers a request that the end of the grace cuts off: what it began goes on all the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; it is cancelled from outside in no other case."""
        has_begun = has_ended = False

        async def watched_send(message: Message) -> None:
            nonlocal has_begun, has_ended
            has_begun = True
            has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            if not has_begun:
                await _stopping(scope, receive, send)
            elif not has_ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})


_stopping = json_rpc_error(
    503,
    "This replica is stopping. What was under way goes on: look it up with get_operation.",
    {"retry-after": "1"},
)


class _Server(uvicorn.Server):
    """A server without signals of its own: it would raise them again, and end the process before acts are settled."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept callers, and call `ready`."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `stopping`, accept no more callers, and let requests end within the grace."""
        self._stopping()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Signals:
    """Stops the server on SIGTERM and SIGINT, once; they do not interrupt what comes after it."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._has_come = False

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._stop)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)  # a worker is born with them blocked
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop_on_signal(self, server: uvicorn.Server) -> None:
        """Have this server stopped, at once if a signal has come already."""
        self._server = server
        server.should_exit = self._has_come

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._has_come = True
        if self._server is not None:
            self._server.should_exit = True
