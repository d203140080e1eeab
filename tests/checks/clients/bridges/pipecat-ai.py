"""Pipecat: joins the text blocks, tells its model of no failure but in their words, shows no prompts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from mcp import StdioServerParameters
from mcp.client.session_group import StreamableHttpParameters
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.mcp_service import MCPClient


@asynccontextmanager
async def connect(way: dict[str, Any], _person: Person) -> AsyncIterator[Client]:
    async with MCPClient(_parameters(way)) as pipecat:
        tools = {tool.name: tool for tool in (await pipecat.tools()).standard_tools}

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            given: list[str] = []

            async def result(text: str, **_properties: Any) -> None:
                given.append(text)

            await tools[tool].handler(
                FunctionCallParams(
                    function_name=tool,
                    tool_call_id="call",
                    arguments=arguments,
                    llm=None,
                    pipeline_worker=None,
                    context=None,
                    result_callback=result,
                )
            )
            return Shown(text=given[0])

        yield Client(
            client=f"pipecat-ai {version('pipecat-ai')}",
            protocol=pipecat._active_session.protocol_version,  # noqa: SLF001 - it tells nobody else
            sees="text",
            tools=[{"name": tool.name, "description": tool.description} for tool in tools.values()],
            call=call,
        )


def _parameters(way: dict[str, Any]) -> StdioServerParameters | StreamableHttpParameters:
    if way["transport"] == "stdio":
        return StdioServerParameters(command=way["command"], args=way["args"], env=way["env"])
    return StreamableHttpParameters(url=way["url"], headers={"Authorization": f"Bearer {way['token']}"})


run(connect)
