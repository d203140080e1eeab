# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-mcp-adapters>=0.3,<0.4", "mcp<2"]
# ///
"""LangChain's adapters: give the model text, and failures as messages of status error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp.types import ElicitRequestParams, ElicitResult


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(_mcp: Any, params: ElicitRequestParams, _context: Any) -> ElicitResult:
        return ElicitResult(**person.reply(params.message))

    callbacks = Callbacks(on_elicitation=answer) if way["prompts"] else Callbacks()
    client = MultiServerMCPClient({"kros": _connection(way)}, callbacks=callbacks)
    async with client.session("kros") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session, callbacks=callbacks, server_name="kros")}

        async def call(tool: str, arguments: dict[str, Any]) -> Shown:
            message = await tools[tool].ainvoke({"type": "tool_call", "id": "call", "name": tool, "args": arguments})
            text = "\n".join(block["text"] for block in message.content if block["type"] == "text")
            return Shown(text=text, error=message.status == "error")

        yield Client(
            client=f"langchain-mcp-adapters {version('langchain-mcp-adapters')}",
            protocol=None,
            sees="text",
            tools=[{"name": tool.name, "description": tool.description} for tool in tools.values()],
            call=call,
            prompts=way["prompts"],
        )


def _connection(way: dict[str, Any]) -> dict[str, Any]:
    if way["transport"] == "stdio":
        return {"transport": "stdio", "command": way["command"], "args": way["args"], "env": way["env"]}
    return {"transport": "http", "url": way["url"], "headers": {"Authorization": f"Bearer {way['token']}"}}


run(connect)
