"""How a client reaches a server of its own: over stdin and stdout of a process; `fleet.py` has the other way.

`open_stdio` starts `python -m kros_mcp` and speaks with it as clients do. The SDK's own stdio client does the
same but keeps the process to itself, and here it must be killed and frozen.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import anyio
from anyio.abc import Process
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from .events import Events

STOP_SECONDS = 3.0
ORGANIZATIONS = "CAMPAIGN_ORGANIZATIONS"
"""Beside the settings of all servers: which organization each principal names, as JSON. No setting of a server."""
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class Reached(Protocol):
    """A way to a server, and the process that answers there, to be struck."""

    @property
    def way(self) -> Any:
        """What the SDK's `Client` takes."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    @property
    def frozen(self) -> bool: ...

    @property
    def is_running(self) -> bool: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None:
        """Let go on what was frozen through this; nothing if nothing was."""

    def session_lost(self) -> None:
        """Learn that the server does not know the client any more."""

    async def ended(self) -> None:
        """Wait until the way leads nowhere, and the client must take another."""


Reach = Callable[[str, Mapping[str, str], TextIO], AbstractAsyncContextManager[Reached]]
"""Opens a way for the client of that name, with the settings that it wants; stderr of its process goes to the file."""
Transport = Callable[[Mapping[str, str], Path, Events], AbstractAsyncContextManager[Reach]]
"""Opens, with the settings that all servers share and a folder for logs, whatever all ways have in common."""


@asynccontextmanager
async def over_stdio(_settings: Mapping[str, str], _folder: Path, _events: Events) -> AsyncIterator[Reach]:
    """Give every client a server process of its own."""
    yield open_stdio


@dataclass
class OwnProcess:
    """A server process that one client has to itself."""

    way: Any
    process: Process
    frozen: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

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

    def session_lost(self) -> None:
        """There are no sessions on stdio."""

    async def ended(self) -> None:
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Not by the process object: that looks whether it has ended, and takes its exit code from asyncio.
        with suppress(ProcessLookupError):
            if self.process.returncode is None:
                os.kill(self.pid, number)


@asynccontextmanager
async def open_stdio(_name: str, settings: Mapping[str, str], log: TextIO) -> AsyncIterator[Reached]:
    """Start a server with these settings; what it writes to stderr goes to `log`. It is gone on leaving."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    process = await anyio.open_process(
        [sys.executable, "-m", "kros_mcp"],
        env={**kept, "NO_PROXY": "127.0.0.1", **settings},
        stderr=log,
        start_new_session=True,  # a Ctrl-C at the terminal is for the campaign, which then ends them
    )
    assert process.stdin is not None
    reached = OwnProcess(_open_streams(process), process)
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
            # Python before 3.11.4 complains of a pipe to a killed process unless somebody hears of it.
            with suppress(*_GONE), anyio.move_on_after(STOP_SECONDS):
                await process.stdin._stream.wait_closed()  # type: ignore[attr-defined]  # noqa: SLF001 - anyio has no word for it


@asynccontextmanager
async def _open_streams(process: Process) -> AsyncIterator[tuple[Any, Any]]:
    """Give the two streams that the SDK reads and writes; the process is not theirs to end."""
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        rest = b""
        async with to_client:
            with suppress(*_GONE):
                async for chunk in stdout:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await to_client.send(SessionMessage(message))

    async def write() -> None:
        async with from_client:
            with suppress(*_GONE):
                async for sent in from_client:
                    line = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await stdin.send(line.encode() + b"\n")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        try:
            yield from_server, to_server
        finally:
            tasks.cancel_scope.cancel()
            for stream in (to_client, from_server, to_server, from_client):
                stream.close()
