"""The HTTP service in this process, reached over TCP as clients reach it; its KrosAI is the simulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from listening import open_listening

from kros_mcp.http.app import open_service
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport


@asynccontextmanager
async def open_http(sim: Simulator, **settings: Any) -> AsyncIterator[str]:
    """Serve over TCP to anybody on this machine; yields the address of `/mcp`."""
    defaults = {"base_url": "https://simulator.invalid/v1", "journal_url": "sqlite://:memory:"}
    given = Settings(**(defaults | {"api_key": sim.api_key} | settings))
    async with open_service(given, None, transport=transport(sim)) as service, open_listening(service.app) as url:
        try:
            yield f"{url}/mcp"
        finally:
            sim.faults.clear()
