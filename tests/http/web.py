"""An HTTP service in this event loop, over real TCP, and clients that speak to it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from listening import open_listening
from mcp import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken
from talk import Person, Talk, settings_for

from kros_mcp.http.access import Access
from kros_mcp.http.app import Service, open_service
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Limits
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.caller import IN_CONVERSATION, Scope, caller_token, principal_of

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
    method: str, params: Mapping[str, Any] | None = None, *, elicits: bool = False, **headers: str
) -> dict[str, Any]:
    """One request of the modern protocol, as httpx takes it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}} if elicits else {},
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}
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
