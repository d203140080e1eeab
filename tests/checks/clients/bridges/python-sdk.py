# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3"]
# ///
"""The client of the official Python SDK, as it comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import httpx2
from bridging import Client, Person, Shown, run
from mcp import Client as SdkClient
from mcp import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(**person.reply(params.message))

    async with SdkClient(_target(way), elicitation_callback=answer if way["prompts"] else None) as sdk:
        tools = (await sdk.list_tools()).tools

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            result = await sdk.call_tool(tool, arguments)
            text = "\n".join(block.text for block in result.content if block.type == "text")
            return Shown(text, result.structured_content, result.is_error)

        yield Client(
            client=f"mcp {version('mcp')}",
            protocol=sdk.protocol_version,
            sees="both",
            tools=[{"name": tool.name, "description": tool.description} for tool in tools],
            call=call,
            prompts=way["prompts"],
        )


def _target(way: dict[str, Any]) -> Any:
    if way["transport"] == "stdio":
        return StdioServerParameters(command=way["command"], args=way["args"], env=way["env"])
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {way['token']}"})
    return streamable_http_client(way["url"], http_client=http)


run(connect)
