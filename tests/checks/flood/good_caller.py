"""A caller that does nothing wrong, and is to be answered soon whatever others do."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import httpx

from tests.checks.flood.target import HOST

PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.15
_MODERN = "2026-07-28"
_PREFIX = "io.modelcontextprotocol/"


@dataclass
class Answers:
    """How long each answer took, in seconds; one that did not come is told in `failures` instead."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def slowest_seconds(self) -> float:
        return max(self.seconds, default=PATIENCE_SECONDS)


async def keep_calling(port: int, token: str, answers: Answers) -> None:
    """Call a tool now and then until cancelled: by turns over a connection that is kept and over a new one."""
    async with client_for(port, token) as kept:
        while True:
            await answered(kept, answers)
            await asyncio.sleep(PAUSE_SECONDS)
            async with client_for(port, token) as new:
                await answered(new, answers)
            await asyncio.sleep(PAUSE_SECONDS)


async def call(port: int, token: str, times: int) -> None:
    """Call a tool so many times over one connection.

    Raises:
        RuntimeError: A call failed.
    """
    answers = Answers()
    async with client_for(port, token) as client:
        for _ in range(times):
            await answered(client, answers)
    if answers.failures:
        raise RuntimeError(f"the service does not answer before the flood: {answers.failures[0]}")


async def answered(client: httpx.AsyncClient, answers: Answers) -> None:
    begun = time.perf_counter()
    try:
        response = await client.post("/mcp", content=_BODY)
        result = response.json()["result"] if response.is_success else {"isError": response.status_code}
    except (httpx.HTTPError, ValueError, KeyError) as exc:
        answers.failures.append(type(exc).__name__)
        return
    if result.get("isError"):
        answers.failures.append(f"{response.status_code} {response.text[:200]}")
        return
    answers.seconds.append(time.perf_counter() - begun)


def client_for(port: int, token: str) -> httpx.AsyncClient:
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": _MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "list_phone_numbers",
    }
    return httpx.AsyncClient(base_url=f"http://{HOST}:{port}", headers=headers, timeout=PATIENCE_SECONDS)


_BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "list_phone_numbers",
            "arguments": {},
            "_meta": {
                f"{_PREFIX}protocolVersion": _MODERN,
                f"{_PREFIX}clientInfo": {"name": "good", "version": "1"},
                f"{_PREFIX}clientCapabilities": {},
            },
        },
    }
)
