# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-mcp-adapters>=0.3,<0.4", "mcp<2"]
# ///
"""LangChain's adapters: a session (over stdio: a server) of its own for each call; text, and failures by status."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from bridging import Client, Person, Shown, run
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitRequestParams, ElicitResult


@asynccontextmanager
async def connect(way: dict[str, Any], person: Person) -> AsyncIterator[Client]:
    async def answer(_mcp: Any, params: ElicitRequestParams, _context: Any) -> ElicitResult:
        return ElicitResult(**person.reply(params.message))

    callbacks = Callbacks(on_elicitation=answer) if way["prompts"] else Callbacks()
    langchain = MultiServerMCPClient({"kros": _connection(way)}, callbacks=callbacks)
    tools = {tool.name: tool for tool in await langchain.get_tools()}

    async def call(tool: str, arguments: dict[str, Any]) -> Shown:
        message = await tools[tool].ainvoke({"type": "tool_call", "id": "call", "name": tool, "args": arguments})
        text = "\n".join(block["text"] for block in message.content if block["type"] == "text")
        return Shown(text=text, error=message.status == "error")

    yield Client(
        client=f"langchain-mcp-adapters {version('langchain-mcp-adapters')}",
        protocol=(await langchain.get_server_info())["kros"].protocolVersion,
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
