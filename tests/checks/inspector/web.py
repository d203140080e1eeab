"""The Inspector's web page: its server process, and a browser that looks at it."""

import json
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from playwright.async_api import Page, ViewportSize, async_playwright, expect

from tests.checks.node import program
from tests.support.processes import KROS_MCP, open_group

from .places import Era, surroundings

SERVER = "kros"
WINDOW: ViewportSize = {"width": 1280, "height": 900}
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_STARTING_SECONDS = 60
_STEP_MILLISECONDS = 20_000


@asynccontextmanager
async def open_web(
    settings: Mapping[str, str],
    era: Era,
    folder: Path,
    *,
    name: str = SERVER,
    server: Sequence[str] = (KROS_MCP.name,),
) -> AsyncIterator[str]:
    """Serve the Inspector's page, with this server in its list; yields the page's address."""
    config = folder / "servers.json"
    # By its name alone, as the page shows the command; `surroundings` says where it is.
    entry = {"command": server[0], "args": list(server[1:]), "env": dict(settings), "protocolEra": era}
    config.write_text(json.dumps({"mcpServers": {name: entry}}), encoding="utf-8")
    port, token = _free_port(), secrets.token_hex(16)
    environment = {
        **surroundings(folder),
        "CLIENT_PORT": str(port),
        "MCP_SANDBOX_PORT": "0",
        "MCP_APP_ORIGIN_PORT": "0",
        "MCP_INSPECTOR_API_TOKEN": token,
    }
    command = [*program("mcp-inspector"), "--web", "--config", str(config)]
    async with (
        open_group(command, env=environment, stderr=subprocess.STDOUT) as process,
        anyio.create_task_group() as tasks,
    ):
        printing = _Printing(process)
        tasks.start_soon(printing.read)
        with anyio.fail_after(_STARTING_SECONDS):
            await printing.up()
        yield f"http://127.0.0.1:{port}/?MCP_INSPECTOR_API_TOKEN={token}"
        tasks.cancel_scope.cancel()


class _Printing:
    """What a process prints, read as it comes so that it is never held up."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._printed = b""
        self._is_up = anyio.Event()
        self._ended = False

    async def read(self) -> None:
        """Read on until it has ended."""
        assert self._process.stdout is not None
        async for chunk in self._process.stdout:
            self._printed += chunk
            if b"is up and running" in self._printed:
                self._is_up.set()
        self._ended = True
        self._is_up.set()

    async def up(self) -> None:
        """Wait until it says that it serves.

        Raises:
            RuntimeError: It ended before.
        """
        await self._is_up.wait()
        if self._ended:
            raise RuntimeError(f"the Inspector's page was not served: {self._printed.decode()[-500:]}")


@asynccontextmanager
async def open_page(chromium: str) -> AsyncIterator[Page]:
    """Open a window of a browser of its own; whatever is waited for there is waited for so long and no longer."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            context = await browser.new_context(viewport=WINDOW, device_scale_factor=1.5, reduced_motion="reduce")
            page = await context.new_page()
            page.set_default_timeout(_STEP_MILLISECONDS)
            expect.set_options(timeout=_STEP_MILLISECONDS)
            yield page
        finally:
            with anyio.CancelScope(shield=True):
                await browser.close()


def _free_port() -> int:
    """A port that nobody listens at; the Inspector wants to be told one, and takes no 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
