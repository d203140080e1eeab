"""What the floods of sessions and prompts say: requests of the 2025-11-25 protocol, by hand over a bare connection."""

import asyncio
import json
from typing import Any

from tests.checks.flood.target import HOST, Target

REVISION = "2025-11-25"


def initialize(**params: Any) -> dict[str, Any]:
    """The request that opens a session of a client that shows prompts; what is None is left out."""
    whole = {
        "protocolVersion": REVISION,
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "flood", "version": "1"},
    }
    given = {name: value for name, value in (whole | params).items() if value is not None}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": given}


def calling(nth: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": nth, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


async def send(target: Target, writer: asyncio.StreamWriter, message: dict[str, Any], session: str = "") -> None:
    """Send one message."""
    body = json.dumps(message).encode()
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {target.token}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"Content-Length: {len(body)}",
        *([f"Mcp-Session-Id: {session}"] if session else []),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


async def head(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Read the head of an answer: its status, and the session that it names."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("mcp-session-id:")]
    return int(lines[0].split()[1]), named[0] if named else ""


async def event(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Read the next message of a stream; one that ends raises `asyncio.IncompleteReadError`."""
    while True:
        line = await reader.readuntil(b"\n")
        if line.startswith(b"data: "):
            message: dict[str, Any] = json.loads(line[6:])
            return message
