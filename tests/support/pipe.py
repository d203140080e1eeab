"""The server in a process of its own and its bare pipes: a client that may write whatever it likes."""

import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

import anyio
from anyio.abc import Process

from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.simulator import Simulator, transport
from kros_mcp.stdio import Stdio
from tests.support.processes import open_group
from tests.support.screen import ScriptedScreen
from tests.support.talk import settings_for

MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "pipe", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
LONGEST_SECONDS = 30.0


def request(request_id: object, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method} | ({"params": params} if params else {})


def call(request_id: object, tool: str, **arguments: Any) -> dict[str, Any]:
    return request(request_id, "tools/call", name=tool, arguments=arguments)


def initialize(request_id: object = "init", *, prompts: bool = False) -> dict[str, Any]:
    return request(
        request_id,
        "initialize",
        protocolVersion="2025-11-25",
        capabilities={"elicitation": {}} if prompts else {},
        clientInfo={"name": "pipe", "version": "1"},
    )


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@dataclass
class Pipe:
    """The client's ends of a server's pipes, as file descriptors."""

    sends: int
    hears: int
    heard: list[dict[str, Any]] = field(default_factory=list)
    _rest: bytes = b""

    async def send(self, *messages: dict[str, Any] | bytes) -> None:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
        data = b"".join(line + b"\n" for line in lines)

        def write() -> None:
            left = memoryview(data)
            while left:
                left = left[os.write(self.sends, left) :]

        await anyio.to_thread.run_sync(write)

    def close(self) -> None:
        """Close stdin, as a client does that is done."""
        os.close(self.sends)
        self.sends = -1

    def hear_no_more(self) -> None:
        """Close stdout, as a client does that has died."""
        os.close(self.hears)
        self.hears = -1

    async def hear(self) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            anyio.EndOfStream: The server says nothing any more.
        """
        with anyio.fail_after(LONGEST_SECONDS):
            while b"\n" not in self._rest:
                chunk = await anyio.to_thread.run_sync(os.read, self.hears, 65_536, abandon_on_cancel=True)
                if not chunk:
                    raise anyio.EndOfStream
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        self.heard.append(message)
        return message

    async def answers(self, ids: Iterable[object]) -> dict[object, dict[str, Any]]:
        """Wait until each of these requests has been answered."""
        wanted, found = set(ids), {}
        while wanted:
            message = await self.hear()
            if "method" not in message and message["id"] in wanted:
                wanted.remove(message["id"])
                found[message["id"]] = message
        return found

    async def answer(self, *messages: dict[str, Any]) -> dict[str, Any]:
        """Send messages, and wait for the answer to the last."""
        await self.send(*messages)
        return (await self.answers([messages[-1]["id"]]))[messages[-1]["id"]]

    async def rest(self) -> list[dict[str, Any]]:
        """Wait for the server's end, and give all that it said since."""
        since = len(self.heard)
        try:
            while True:
                await self.hear()
        except anyio.EndOfStream:
            return self.heard[since:]


@dataclass
class Program(Pipe):
    """The pipes of a server in a process of its own."""

    process: Process = field(kw_only=True)
    stderr: IO[bytes] = field(kw_only=True)

    async def ended(self) -> int:
        """Wait for the exit code."""
        with anyio.fail_after(LONGEST_SECONDS):
            return await self.process.wait()

    def said(self) -> str:
        """What stands on stderr by now, apart from the lines that tell of acts."""
        lines = os.pread(self.stderr.fileno(), 1_000_000, 0).decode().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("kros-mcp: op_"))


def _close(*descriptors: int) -> None:
    for one in descriptors:
        if one >= 0:
            os.close(one)


@asynccontextmanager
async def open_pipe(sim: Simulator, screen: ScriptedScreen | None = None, **settings: Any) -> AsyncIterator[Pipe]:
    """Serve in this process, over real pipes; KrosAI is the simulator, in this process too."""
    open_screen = screen.open if screen else None
    server = build_server(
        settings_for(sim, **settings),
        lambda given: open_runtime(given, transport=transport(sim), open_screen=open_screen),
    )
    reads, sends = os.pipe()
    hears, writes = os.pipe()
    pipe = Pipe(sends, hears)

    async def serve() -> None:
        await server.serve_stdio(Stdio(reads, writes, anyio.Event(), LONGEST_SECONDS))
        os.close(writes)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        try:
            yield pipe
        finally:
            _close(pipe.sends)
    _close(pipe.hears, reads)


@asynccontextmanager
async def open_program(*words: str, stderr: IO[bytes] | None = None, **environment: str) -> AsyncIterator[Program]:
    """Start `kros-mcp` in a process of its own; its stderr goes to a file unless told otherwise."""
    reads, sends = os.pipe()
    hears, writes = os.pipe()
    with stderr or TemporaryFile() as errors:
        async with open_group(
            [sys.executable, "-m", "kros_mcp", *words],
            env={"PATH": os.environ["PATH"], "KROS_CONFIRMATION": "conversation", **environment},
            stdin=reads,
            stdout=writes,
            stderr=errors,
        ) as process:
            _close(reads, writes)
            pipe = Program(sends, hears, process=process, stderr=errors)
            try:
                yield pipe
            finally:
                _close(pipe.sends, pipe.hears)
