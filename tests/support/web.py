"""An HTTP service in this event loop, over real TCP, and clients that speak to it, well-behaved or by hand."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import httpx2
import uvicorn
from mcp import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp

from kros_mcp.http.access import Access
from kros_mcp.http.app import Service, open_service
from kros_mcp.http.uvicorn_server import ListenAddress, bind, uvicorn_config
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.simulator import InventoryItem, Simulator, transport
from kros_mcp.tools.caller import caller_token, principal_of
from kros_mcp.tools.specs import IN_CONVERSATION, Scope
from tests.support.person import Person
from tests.support.talk import Talk, settings_for

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


MODERN = "2026-07-28"


class Known:
    """Takes a caller's name for their token: who they are is decided elsewhere, and tested there."""

    def __init__(self, **scopes: frozenset[Scope]) -> None:
        self.scopes = scopes

    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in self.scopes:
            return None
        return caller_token("tokens", token, self.scopes[token])


def access_for(*names: str, **limits: Limits) -> Access:
    """Let these callers in, with every right of a conversation."""
    by_principal = {principal_of("tokens", name): own for name, own in limits.items()}
    return Access(
        Known(**dict.fromkeys(names, IN_CONVERSATION)), lambda principal: by_principal.get(principal, Limits())
    )


class Web:
    """A service under way, as its clients and its operator see it."""

    def __init__(self, service: Service, url: str, sim: Simulator) -> None:
        self.service = service
        self.url = url
        self.sim = sim

    @asynccontextmanager
    async def talk(
        self,
        name: str = "",
        era: str = "auto",
        person: Person | None = None,
        hear: MessageHandlerFnT | None = None,
    ) -> AsyncIterator[Talk]:
        """Talk to the service as the MCP SDK's client does."""
        headers = {"authorization": f"Bearer {name}"} if name else {}
        answers = None if person is None else person.answer
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            way = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(way, mode=era, elicitation_callback=answers, message_handler=hear) as client:
                yield Talk(client, self.sim)

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """Send what no well-behaved client sends."""
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60) as client:
            yield client


@asynccontextmanager
async def open_web(
    sim: Simulator,
    access: Access | None = None,
    *,
    journal: Journal | None = None,
    stateless: bool = False,
    loopback: bool = True,
    **settings: Any,
) -> AsyncIterator[Web]:
    """Serve in this process; its KrosAI is the simulator, in this process too."""
    given = settings_for(sim, **settings)
    async with (
        open_service(
            given, access, stateless=stateless, loopback=loopback, transport=transport(sim), journal=journal
        ) as service,
        open_listening(service.app, given) as url,
    ):
        yield Web(service, url, sim)


def modern(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    elicits: bool = False,
    meta: Mapping[str, Any] | None = None,
    id: str | int = 1,  # noqa: A002 - JSON-RPC's own name
    **headers: str,
) -> dict[str, Any]:
    """One request of the modern protocol, as httpx takes it."""
    meta = {
        **(meta or {}),
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}} if elicits else {},
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": meta}}
    name = {"mcp-name": str(params["name"])} if params and "name" in params else {}
    return {
        "headers": {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            **name,
            **headers,
        },
        "content": json.dumps(body),
    }


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
    async with open_session_at(web.url, name, **headers) as session:
        yield session


@asynccontextmanager
async def open_session_at(url: str, token: str, **headers: str) -> AsyncIterator[Session]:
    """Open such a session at an address."""
    sent = {"authorization": f"Bearer {token}", **ACCEPT, **headers}
    async with httpx.AsyncClient(base_url=url, headers=sent, timeout=60) as http:
        opened = await http.post("/mcp", json=asking_opening())
        assert opened.status_code == 200, opened.text
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await http.post("/mcp", headers=session, json=ready)).status_code == 202
        yield Session(http, session)
