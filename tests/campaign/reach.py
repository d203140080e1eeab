"""How a client reaches a server: the one place that knows of processes and transports.

`open_stdio` starts `python -m kros_mcp` and speaks over its stdin and stdout, as clients do. The SDK's own
stdio client does the same but keeps the process to itself, and here it must be killed and frozen. Another
transport is another function of the type `Reach`.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

import anyio
from anyio.abc import Process
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

STOP_SECONDS = 3.0
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


@dataclass
class Reached:
    """A server process, and the way to it: what the SDK's `Client` takes."""

    way: Any
    process: Process
    frozen: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None and not self.frozen

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        # Not by the process object: that looks whether it has ended, and takes its exit code from asyncio.
        with suppress(ProcessLookupError):
            if self.process.returncode is None:
                os.kill(self.pid, number)


Reach = Callable[[Mapping[str, str], TextIO], AbstractAsyncContextManager[Reached]]


@asynccontextmanager
async def open_stdio(settings: Mapping[str, str], log: TextIO) -> AsyncIterator[Reached]:
    """Start a server with these settings; what it writes to stderr goes to `log`. It is gone on leaving."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    process = await anyio.open_process(
        [sys.executable, "-m", "kros_mcp"],
        env={**kept, "NO_PROXY": "127.0.0.1", **settings},
        stderr=log,
        start_new_session=True,  # a Ctrl-C at the terminal is for the campaign, which then ends them
    )
    reached = Reached(_open_streams(process), process)
    try:
        yield reached
    finally:
        with anyio.CancelScope(shield=True):
            reached.thaw()
            with suppress(*_GONE):
                await process.stdin.aclose()
            with anyio.move_on_after(STOP_SECONDS):
                await process.wait()
            reached.kill()
            await process.aclose()


@asynccontextmanager
async def _open_streams(process: Process) -> AsyncIterator[tuple[Any, Any]]:
    """Give the two streams that the SDK reads and writes; the process is not theirs to end."""
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        rest = b""
        async with to_client:
            with suppress(*_GONE):
                async for chunk in process.stdout:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await to_client.send(SessionMessage(message))

    async def write() -> None:
        async with from_client:
            with suppress(*_GONE):
                async for sent in from_client:
                    line = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(line.encode() + b"\n")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        try:
            yield from_server, to_server
        finally:
            tasks.cancel_scope.cancel()
            for stream in (to_client, from_server, to_server, from_client):
                stream.close()
