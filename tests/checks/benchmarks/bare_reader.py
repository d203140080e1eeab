"""One tool on the bare SDK that reads the same KrosAI: what the calls of kros-mcp are measured against.

Run as `python bare_reader.py stdio` or `python bare_reader.py PORT`, with UPSTREAM_URL and UPSTREAM_KEY set. It has no
authentication, no retries, no limits and no guard.
"""

import os
import sys
from typing import Any

import httpx
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel


class Number(BaseModel):
    """A number, owned or for sale, as KrosAI sends it."""

    id: str
    e164: str
    country: str
    type: str
    status: str | None = None
    endpoint_id: str | None = None
    area_code: str | None = None
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None
    setup_cost_cents: int | None = None
    monthly_cost_cents: int | None = None


class Numbers(BaseModel):
    """What the last of the requests brought."""

    numbers: list[Number]
    total: int | None


server = MCPServer("bare", version="1", log_level="WARNING")
krosai = httpx.AsyncClient(
    base_url=os.environ["UPSTREAM_URL"], headers={"authorization": f"Bearer {os.environ['UPSTREAM_KEY']}"}
)


@server.tool()
async def read(paths: list[str]) -> Numbers:
    """Read phone numbers from KrosAI, with one GET for each path."""
    body: Any = []
    for path in paths:
        response = await krosai.get(path)
        response.raise_for_status()
        body = response.json()
    listed = body if isinstance(body, list) else [body]
    return Numbers(numbers=[Number.model_validate(one) for one in listed], total=len(listed))


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
