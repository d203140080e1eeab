# /// script
# requires-python = ">=3.11"
# dependencies = ["openai-agents>=0.24,<1"]
# ///
"""OpenAI Agents SDK with strict schemas: every argument is sent; it waits five seconds and shows no prompts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServer, MCPServerStdio, MCPServerStreamableHttp, MCPUtil
from agents.tool_context import ToolContext
from bridging import Client, Person, Shown, run

_EMPTY = {"string": "", "integer": 0, "boolean": False}


@asynccontextmanager
async def connect(way: dict[str, Any], _person: Person) -> AsyncIterator[Client]:
    async with _server(way) as server:
        listed = await MCPUtil.get_function_tools(
            server, convert_schemas_to_strict=True, run_context=RunContextWrapper(None), agent=Agent(name="agent")
        )
        tools = {tool.name: tool for tool in listed}

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            sent = json.dumps(_all(tools[tool].params_json_schema, arguments))
            context = ToolContext(None, tool_name=tool, tool_call_id="call", tool_arguments=sent)
            given = await tools[tool].on_invoke_tool(context, sent)
            return Shown(text=given if isinstance(given, str) else given["text"])

        yield Client(
            client=f"openai-agents {version('openai-agents')}",
            protocol=server.session.protocol_version,
            sees="text",
            tools=[{"name": tool.name, "description": tool.description} for tool in listed],
            call=call,
        )


def _all(schema: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Fill in what strict mode makes a model send where it has nothing to say: defaults, or empty values."""
    if sorted(schema["required"]) != sorted(schema["properties"]) or schema["additionalProperties"] is not False:
        raise ValueError(f"the schema is not strict: {schema}")
    filled = {
        name: each.get("default", _EMPTY.get(each.get("type", ""))) for name, each in schema["properties"].items()
    }
    return filled | arguments


def _server(way: dict[str, Any]) -> MCPServer:
    if way["transport"] == "stdio":
        return MCPServerStdio({"command": way["command"], "args": way["args"], "env": way["env"]})
    return MCPServerStreamableHttp({"url": way["url"], "headers": {"Authorization": f"Bearer {way['token']}"}})


run(connect)
