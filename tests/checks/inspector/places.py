"""Where the Inspector is let loose: a simulated KrosAI, and this server in front of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kros_mcp.simulator import Simulator, open_server
from tests.support.processes import KROS_MCP
from tests.support.replicas import open_service

Transport = Literal["stdio", "http"]
Era = Literal["modern", "legacy"]


@dataclass(frozen=True)
class Place:
    """One server to be called; `target` are the words that tell the Inspector's CLI how to reach it."""

    sim: Simulator
    settings: Mapping[str, str]
    """What the server is told by its environment."""
    target: tuple[str, ...]


@asynccontextmanager
async def open_place(transport: Transport, folder: Path) -> AsyncIterator[Place]:
    """Open a simulated KrosAI that outlives every call, and over HTTP the service before it.

    Args:
        transport: Over stdio each call starts a server of its own, as the Inspector does; they share a journal.
        folder: An absolute path; takes the journal and the service's log.
    """
    sim = Simulator()
    async with open_server(sim) as base_url:
        settings = {
            "KROS_BASE_URL": base_url,
            "KROS_API_KEY": sim.api_key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_JOURNAL_URL": f"sqlite:///{folder}/journal.sqlite3",
        }
        if transport == "stdio":
            told = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
            yield Place(sim, settings, (*told, str(KROS_MCP)))
            return
        async with open_service(["--no-auth"], settings, folder / "service.log") as service:
            await service.served()
            yield Place(sim, settings, (service.url, "--transport", "http"))


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of an Inspector that leaves nothing behind and finds nothing of anybody's."""
    return {
        "PATH": f"{KROS_MCP.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        "MCP_AUTO_OPEN_ENABLED": "false",
        "NO_PROXY": "127.0.0.1",
    }
