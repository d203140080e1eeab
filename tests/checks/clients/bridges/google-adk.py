# /// script
# requires-python = ">=3.11"
# dependencies = ["google-adk[mcp]>=2.13,<3"]
# ///
"""Google's Agent Development Kit: gives its model text and data; over stdio it waits five seconds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from bridging import Client, Person, Shown, run
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from mcp import StdioServerParameters
from mcp.types import ElicitRequestParams, ElicitResult


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(**person.reply(params.message))

    handlers = {"elicitation_callback": answer} if way["prompts"] else {}
    toolset = McpToolset(connection_params=_parameters(way), **handlers)
    try:
        tools = {tool.name: tool for tool in await toolset.get_tools()}

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            given = await tools[tool].run_async(args=arguments, tool_context=SimpleNamespace(tool_confirmation=None))
            if "error" in given:
                return Shown(text=given["error"], error=True)
            text = "\n".join(block["text"] for block in given["content"] if block["type"] == "text")
            return Shown(text, given.get("structuredContent"), given["isError"])

        session = await toolset._mcp_session_manager.create_session()  # noqa: SLF001 - it tells nobody else
        yield Client(
            client=f"google-adk {version('google-adk')}",
            protocol=session.protocol_version,
            sees="both",
            tools=[{"name": tool.name, "description": tool.description} for tool in tools.values()],
            call=call,
            prompts=way["prompts"],
        )
    finally:
        await toolset.close()


def _parameters(way: dict[str, Any]) -> StdioConnectionParams | StreamableHTTPConnectionParams:
    if way["transport"] == "stdio":
        server = StdioServerParameters(command=way["command"], args=way["args"], env=way["env"])
        return StdioConnectionParams(server_params=server)
    headers = {"Authorization": f"Bearer {way['token']}"}
    return StreamableHTTPConnectionParams(url=way["url"], headers=headers)


run(connect)
