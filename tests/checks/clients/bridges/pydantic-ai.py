# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[mcp]>=2.68,<3"]
# ///
"""Pydantic AI: gives its model the data alone, and asks it to try again after failures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(message: str, _kind: Any, _params: Any, _context: Any) -> ElicitResult[Any]:
        return ElicitResult(**person.reply(message))

    handlers = {"elicitation_handler": answer} if way["prompts"] else {}
    async with _toolset(way, handlers) as toolset:
        listed = await toolset.list_tools()

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            given = await toolset.direct_call_tool(tool, arguments)
            return Shown(text=given, error=False) if isinstance(given, str) else Shown(structured=given, error=False)

        yield Client(
            client=f"pydantic-ai {version('pydantic-ai-slim')}",
            protocol=toolset.client.session.protocol_version,
            sees="structured",
            tools=[{"name": tool.name, "description": tool.description} for tool in listed],
            call=call,
            prompts=way["prompts"],
        )


def _toolset(way: dict[str, Any], handlers: dict[str, Any]) -> MCPToolset[Any]:
    if way["transport"] == "stdio":
        return MCPToolset(StdioTransport(way["command"], way["args"], env=way["env"]), **handlers)
    return MCPToolset(way["url"], headers={"Authorization": f"Bearer {way['token']}"}, **handlers)


run(connect)
