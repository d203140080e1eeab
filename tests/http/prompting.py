"""A client of the 2025-11-25 protocol that does by hand what none of the libraries would: leave, answer late, hang."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from listening import ACCEPT, opening
from web import Web

from kros_mcp.simulator import InventoryItem


def asking_opening() -> dict[str, Any]:
    """The request that opens a session of a client that shows prompts."""
    request = opening()
    request["params"]["capabilities"] = {"elicitation": {}}
    return request


@dataclass
class Stream:
    """The answer to one call, as its events come in."""

    events: AsyncIterator[str]

    async def message(self) -> dict[str, Any]:
        """The next message; what keeps the connection alive is passed over."""
        async for line in self.events:
            if line.startswith("data: "):
                message: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return message
        raise EOFError("the stream has ended")


@dataclass
class Session:
    """A session with prompts, and the connections that it makes."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    calls: int = 1

    @asynccontextmanager
    async def calling(self, name: str, arguments: dict[str, Any]) -> AsyncIterator[Stream]:
        """Call a tool; leaving closes the connection, whatever is still to come on it."""
        self.calls += 1
        body = {"jsonrpc": "2.0", "id": self.calls, "method": "tools/call"}
        params = {"name": name, "arguments": arguments}
        async with self.http.stream("POST", "/mcp", headers=self.headers, json={**body, "params": params}) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Stream(answer.aiter_lines())

    @asynccontextmanager
    async def buying(self, item: InventoryItem, **arguments: Any) -> AsyncIterator[Stream]:
        """Call for a purchase."""
        wanted = {"e164": item.e164, "country": item.country, "type": item.type}
        async with self.calling("buy_phone_number", wanted | arguments) as stream:
            yield stream

    async def buy(self, item: InventoryItem, **arguments: Any) -> dict[str, Any]:
        """Call for a purchase, and give what it is answered without a prompt."""
        async with self.buying(item, **arguments) as stream:
            result: dict[str, Any] = (await stream.message())["result"]["structuredContent"]
            return result

    async def answer(self, prompt: dict[str, Any], decision: str = "buy") -> httpx.Response:
        """Answer a prompt, by a request of its own."""
        result = {"action": "accept", "content": {"decision": decision}}
        body = {"jsonrpc": "2.0", "id": prompt["id"], "result": result}
        return await self.http.post("/mcp", headers=self.headers, json=body)


@asynccontextmanager
async def open_session(web: Web, name: str = "agent", **headers: str) -> AsyncIterator[Session]:
    """Open a session of a client that shows prompts."""
    async with web.client(authorization=f"Bearer {name}", **ACCEPT, **headers) as http:
        opened = await http.post("/mcp", json=asking_opening())
        assert opened.status_code == 200, opened.text
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await http.post("/mcp", headers=session, json=ready)).status_code == 202
        yield Session(http, session)
