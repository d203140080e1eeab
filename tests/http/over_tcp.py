"""The HTTP service in this process, reached over TCP as clients reach it; its KrosAI is the simulator."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn

from kros_mcp.http.app import open_service
from kros_mcp.http.serving import Address, bind
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport


class _Server(uvicorn.Server):
    """A uvicorn that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


@asynccontextmanager
async def open_http(sim: Simulator, **settings: Any) -> AsyncIterator[str]:
    """Serve over TCP to anybody on this machine; yields the address of `/mcp`."""
    defaults = {"base_url": "https://simulator.invalid/v1", "journal_url": "sqlite://:memory:"}
    given = Settings(**(defaults | {"api_key": sim.api_key} | settings))
    async with open_service(given, None, transport=transport(sim)) as service:
        listener = bind(Address("127.0.0.1", 0))
        server = _Server(uvicorn.Config(service.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        task = asyncio.create_task(server._serve(sockets=[listener]))  # noqa: SLF001 - without its signal handlers
        try:
            await server.ready.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            sim.faults.clear()
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await task
            listener.close()
