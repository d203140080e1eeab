"""The two processes that a client meets: a simulated KrosAI, and the real server before it."""

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.support.processes import KROS_MCP, open_group
from tests.support.replicas import open_service, token_of, write_tokens

from .roster import Transport

_ANNOUNCED = re.compile(rb"KROS_BASE_URL=(\S+) KROS_API_KEY=(\S+)")
_PRINCIPAL = "tried-client"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Krosai:
    """A simulated KrosAI in a process of its own, and its books."""

    settings: Mapping[str, str]
    """What points a server at it."""
    control: httpx.AsyncClient

    async def state(self) -> dict[str, Any]:
        """Tell everything that stands in its books."""
        return dict((await self.control.get("state")).raise_for_status().json())

    async def set_balance(self, cents: int) -> None:
        """Set what the account has left."""
        (await self.control.put("state", json={"balance_cents": cents})).raise_for_status()

    async def hold_purchases(self) -> None:
        """Hold back the next purchase until it is let go."""
        (await self.control.put("faults/hold", json={"on": ["purchase"]})).raise_for_status()

    async def refuse_next_purchase(self) -> None:
        """Have the next purchase refused, as where somebody else was faster."""
        refusal = {"on": ["purchase"], "times": 1, "status": 409, "code": "NUMBER_NOT_AVAILABLE", "error": "Gone."}
        (await self.control.put("faults/refuse", json=refusal)).raise_for_status()

    async def let_go(self) -> None:
        """Switch the holding off, and let go on whatever is held back."""
        (await self.control.delete("faults/hold")).raise_for_status()


@asynccontextmanager
async def open_krosai(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Krosai]:
    """Start `kros-mcp simulator`, and end it on leaving.

    Args:
        folder: An absolute path; takes its log, and the journal of the server before it.
        settings: What a server before it is told beside.
    """
    with (folder / "simulator.stderr").open("wb") as log:
        async with open_group([str(KROS_MCP), "simulator", "--port", "0"], stderr=log) as process:
            with anyio.fail_after(START_SECONDS):
                url, key = await _announced(process)
            journal = f"sqlite:///{folder / 'journal.sqlite3'}"
            own = {
                "KROS_BASE_URL": url,
                "KROS_API_KEY": key,
                "KROS_JOURNAL_URL": journal,
                "KROS_CONFIRMATION": "conversation",
            }
            control = f"{url.removesuffix('/v1')}/_simulator/"
            async with httpx.AsyncClient(base_url=control, trust_env=False, timeout=START_SECONDS) as http:
                yield Krosai({**own, **settings}, http)


@asynccontextmanager
async def open_way(transport: Transport, krosai: Krosai, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Give what a bridge needs to connect; over HTTP the service runs until this is left.

    Args:
        transport: Over stdio each client starts a server of its own, over HTTP it gets a URL and a token.
        krosai: What the server points at.
        folder: Takes the tokens file and the service's log.
    """
    if transport == "stdio":
        yield {"transport": "stdio", "command": str(KROS_MCP), "args": [], "env": dict(krosai.settings)}
        return
    tokens = str(write_tokens(folder / "tokens.toml", [_PRINCIPAL]))
    # No model calls as fast as this does: LangChain makes five requests of a call, and would be told to slow down.
    own = {"KROS_TOKENS_FILE": tokens, "KROS_REQUESTS_PER_SECOND": "0"}
    async with open_service([], {**own, **krosai.settings}, folder / "service.stderr") as service:
        with anyio.fail_after(START_SECONDS):
            await service.served()
        yield {"transport": "http", "url": service.url, "token": token_of(_PRINCIPAL)}


async def _announced(process: anyio.abc.Process) -> tuple[str, str]:
    assert process.stdout is not None
    told = b""
    async for chunk in process.stdout:
        told += chunk
        if found := _ANNOUNCED.search(told):
            return found[1].decode(), found[2].decode()
    raise RuntimeError("kros-mcp simulator did not start")


def environment() -> dict[str, str]:
    """The environment that a bridge starts in: this one, without what is the project's own.

    Bytecode is kept, whatever is said here: the environments stay, and half of a bridge's start is compiling.
    """
    left_out = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    own = {name: value for name, value in os.environ.items() if not (name.startswith("KROS_") or name in left_out)}
    return own | {"NO_PROXY": "127.0.0.1"}
