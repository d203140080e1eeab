"""LiveKit Agents: gives its model one text block, raises for failures, waits five seconds, shows no prompts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from livekit.agents.llm.mcp import MCPServerHTTP, MCPServerStdio
from livekit.agents.llm.tool_context import get_raw_function_info


@asynccontextmanager
async def connect(way: dict[str, Any], _person: Person) -> AsyncIterator[Client]:
    server = _server(way)
    await server.initialize()
    try:
        tools = {get_raw_function_info(tool).name: tool for tool in await server.list_tools()}

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            return Shown(text=await tools[tool](raw_arguments=arguments), error=False)

        yield Client(
            client=f"livekit-agents {version('livekit-agents')}",
            protocol=server._client.protocol_version,  # noqa: SLF001 - it tells nobody else
            sees="text",
            tools=[
                {"name": name, "description": get_raw_function_info(tool).raw_schema["description"]}
                for name, tool in tools.items()
            ],
            call=call,
        )
    finally:
        await server.aclose()


def _server(way: dict[str, Any]) -> MCPServerStdio | MCPServerHTTP:
    if way["transport"] == "stdio":
        return MCPServerStdio(command=way["command"], args=way["args"], env=way["env"])
    return MCPServerHTTP(way["url"], headers={"Authorization": f"Bearer {way['token']}"})


run(connect)
