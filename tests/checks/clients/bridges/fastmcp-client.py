# /// script
# requires-python = ">=3.11"
# dependencies = ["fastmcp>=4.1,<5"]
# ///
"""The client of FastMCP: gives text and data, raises for failures, sets no time limit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from fastmcp import Client as FastClient
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(message: str, _kind: Any, _params: Any, _context: Any) -> ElicitResult[Any]:
        return ElicitResult(**person.reply(message))

    async with FastClient(_transport(way), elicitation_handler=answer if way["prompts"] else None) as fast:
        listed = await fast.list_tools()

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            result = await fast.call_tool(tool, arguments)
            text = "\n".join(block.text for block in result.content if block.type == "text")
            return Shown(text, result.structured_content, result.is_error)

        yield Client(
            client=f"fastmcp {version('fastmcp')}",
            protocol=fast.session.protocol_version,
            sees="both",
            tools=[{"name": tool.name, "description": tool.description} for tool in listed],
            call=call,
            prompts=way["prompts"],
        )


def _transport(way: dict[str, Any]) -> StdioTransport | StreamableHttpTransport:
    if way["transport"] == "stdio":
        return StdioTransport(way["command"], way["args"], env=way["env"])
    return StreamableHttpTransport(way["url"], headers={"Authorization": f"Bearer {way['token']}"})


run(connect)
