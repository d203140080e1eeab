"""An app in this event loop, reached over TCP as clients reach it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp

from kros_mcp.http.uvicorn_server import ListenAddress, bind, uvicorn_config
from kros_mcp.settings import Settings

ACCEPT = {"accept": "application/json, text/event-stream"}


def opening(client: str = "tests") -> dict[str, Any]:
    """The request that opens a session of the legacy protocol."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": client, "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


@asynccontextmanager
async def open_listening(app: ASGIApp, settings: Settings | None = None) -> AsyncIterator[str]:
    """Serve an app at any free port; yields its URL, without a path."""
    with bind(ListenAddress("127.0.0.1", 0)) as listener:
        server = _Server(uvicorn_config(app, settings or Settings(), grace_seconds=1))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.ready.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await running


class _Server(uvicorn.Server):
    """A uvicorn that says when it listens, and leaves signals to the test runner."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
