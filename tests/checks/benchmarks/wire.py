"""The protocol spoken by hand, over pipes and over kept connections, so that little but the server takes time.

Both clients speak either era: `legacy` (2025-11-25, with a handshake) and `auto` (2026-07-28, each request by itself).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "benchmark", "version": "1"}
LONGEST_LINE = 4 * 1024 * 1024
Message = dict[str, Any]


class Caller(Protocol):
    """Whoever can call a tool and read its result."""

    async def call(self, tool: str, arguments: Message) -> Message: ...


@dataclass(frozen=True)
class Door:
    """Where a server over HTTP answers, and the headers that it wants."""

    port: int
    headers: tuple[str, ...] = ()


def request(era: str, tool: str, arguments: Message, number: int = 2) -> Message:
    params: Message = {"name": tool, "arguments": arguments}
    if era == "auto":
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {
            f"{prefix}protocolVersion": MODERN,
            f"{prefix}clientInfo": CLIENT,
            f"{prefix}clientCapabilities": {},
        }
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def initialize() -> Message:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


INITIALIZED: Message = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def result_of(answer: Message) -> Message:
    """Take the result; a failure of any kind would be measured as if it were an answer."""
    result: Message = answer["result"]
    assert not result.get("isError"), result
    return result


class Pipes:
    """A server in a process of its own, over stdio."""

    def __init__(self, process: asyncio.subprocess.Process, era: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._write, self._read, self._era, self._number = process.stdin, process.stdout, era, 1

    async def begin(self) -> None:
        if self._era == "legacy":
            await self._ask(initialize())
            self._send(INITIALIZED)

    async def call(self, tool: str, arguments: Message) -> Message:
        self._number += 1
        return result_of(await self._ask(request(self._era, tool, arguments, self._number)))

    def _send(self, message: Message) -> None:
        self._write.write(json.dumps(message).encode() + b"\n")

    async def _ask(self, message: Message) -> Message:
        self._send(message)
        while True:
            answer: Message = json.loads(await self._read.readline())
            if answer.get("id") == message["id"]:
                return answer


class Connection:
    """One connection to a server over HTTP, kept open."""

    def __init__(self, door: Door, era: str) -> None:
        version = LEGACY if era == "legacy" else MODERN
        headers = [f"Host: 127.0.0.1:{door.port}", "Content-Type: application/json", *door.headers]
        headers += ["Accept: application/json, text/event-stream", f"MCP-Protocol-Version: {version}"]
        self._door, self._era, self._headers = door, era, headers
        self._number = 1

    async def begin(self) -> None:
        self._read, self._write = await asyncio.open_connection("127.0.0.1", self._door.port, limit=LONGEST_LINE)
        if self._era == "legacy":
            headers, _ = await self._post(initialize())
            self._headers.append(f"Mcp-Session-Id: {headers['mcp-session-id']}")
            await self._post(INITIALIZED)

    async def call(self, tool: str, arguments: Message) -> Message:
        self._number += 1
        _, body = await self._post(
            request(self._era, tool, arguments, self._number),
            *(["Mcp-Method: tools/call", f"Mcp-Name: {tool}"] if self._era == "auto" else []),
        )
        data = next((line[5:] for line in body.splitlines() if line.startswith(b"data:")), body)
        return result_of(json.loads(data))

    async def end(self) -> None:
        self._write.close()
        await self._write.wait_closed()

    async def _post(self, message: Message, *more: str) -> tuple[dict[str, str], bytes]:
        body = json.dumps(message).encode()
        lines = ["POST /mcp HTTP/1.1", *self._headers, *more, f"Content-Length: {len(body)}", "", ""]
        self._write.write("\r\n".join(lines).encode() + body)
        head = (await self._read.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        content = await self._body(headers)
        assert head[0].split()[1] in {"200", "202"}, (head[0], content)
        return headers, content

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._read.readexactly(int(headers["content-length"]))
        content = b""
        while size := int(await self._read.readline(), 16):
            content += (await self._read.readexactly(size + 2))[:-2]
        await self._read.readline()
        return content


@asynccontextmanager
async def open_pipes(command: list[str], environment: dict[str, str], era: str) -> AsyncIterator[Caller]:
    """Start a server over stdio and begin to speak with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=bare_environment() | environment,
        limit=LONGEST_LINE,
    )
    pipes = Pipes(process, era)
    try:
        await pipes.begin()
        yield pipes
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def open_connection(door: Door, era: str) -> AsyncIterator[Caller]:
    """Connect to a server over HTTP and begin to speak with it."""
    connection = Connection(door, era)
    await connection.begin()
    try:
        yield connection
    finally:
        await connection.end()


def bare_environment() -> dict[str, str]:
    """The environment without any setting of kros-mcp."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
