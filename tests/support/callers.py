"""Clients of a fleet: the SDK's own, with a token, in either era."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from .proxy import CLIENT
from .replicas import token_of

Era = Literal["legacy", "auto"]


@asynccontextmanager
async def open_way(url: str, principal: str, name: str = "") -> AsyncIterator[Any]:
    """Give what the SDK's `Client` takes: a way to a service, with the principal's token."""
    headers = {"authorization": f"Bearer {token_of(principal)}", CLIENT: name or principal}
    async with create_mcp_http_client(headers) as http, streamable_http_client(url, http_client=http) as streams:
        yield streams


@asynccontextmanager
async def open_client(
    url: str, principal: str, era: Era = "auto", answers: Any = None, *, name: str = ""
) -> AsyncIterator[Client]:
    """Connect to a service as a principal; `answers` answers prompts, and without it none can be shown."""
    async with Client(open_way(url, principal, name), mode=era, elicitation_callback=answers) as client:
        yield client
