"""The processes that are measured: a simulated KrosAI, kros-mcp, and the bare server, each by itself."""

import asyncio
import hashlib
import json
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .wire import Door, bare_environment

HERE = Path(__file__).parent
START_SECONDS = 30.0
Command = Callable[[int], list[str]]
"""What starts a server at a port."""
SCOPES = ["numbers:read", "numbers:configure", "numbers:buy", "numbers:release"]


@dataclass(frozen=True)
class Upstream:
    """The simulated KrosAI over TCP."""

    base_url: str
    key: str
    number_id: str
    e164: str

    def for_ours(self, journal: Path, **settings: str) -> dict[str, str]:
        """The settings of a kros-mcp with this journal and no limit that a measurement would reach."""
        return {
            "KROS_API_KEY": self.key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_BASE_URL": self.base_url,
            "KROS_JOURNAL_URL": f"sqlite:///{journal}",
            "KROS_DAILY_BUDGET_CENTS": "100000000",
            "KROS_REQUESTS_PER_SECOND": "0",
            **settings,
        }

    def for_bare(self) -> dict[str, str]:
        return {"UPSTREAM_URL": self.base_url, "UPSTREAM_KEY": self.key}

    async def requests(self) -> list[dict[str, Any]]:
        """Every request that has come so far."""
        async with httpx.AsyncClient() as client:
            state = await client.get(self.base_url.removesuffix("/v1") + "/_simulator/state")
        seen: list[dict[str, Any]] = state.json()["requests"]
        return seen


@dataclass(frozen=True)
class Server:
    """A server over HTTP in a process of its own."""

    door: Door
    pid: int

    def resident_bytes(self) -> int:
        """Memory that the process holds now (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@asynccontextmanager
async def open_upstream() -> AsyncIterator[Upstream]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "upstream.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=bare_environment(),
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield Upstream(**json.loads(await process.stdout.readline()))
    finally:
        process.stdin.close()
        await process.wait()


def our_token(folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write a tokens file of one caller; the setting that names it, and the header that the caller sends."""
    token = secrets.token_urlsafe(32)
    file = folder / "tokens.toml"
    digest = hashlib.sha256(token.encode()).hexdigest()
    file.write_text(f'[tokens.benchmark]\nsha256 = "{digest}"\nscopes = {json.dumps(SCOPES)}\n', encoding="utf-8")
    file.chmod(0o600)
    return {"KROS_TOKENS_FILE": str(file)}, (f"Authorization: Bearer {token}",)


@asynccontextmanager
async def open_ours(upstream: Upstream, journal: Path, *, token: bool) -> AsyncIterator[Server]:
    """Start `kros-mcp http` for one caller with a token, or for anybody."""
    setting, headers = our_token(journal.parent) if token else ({}, ())
    settings = upstream.for_ours(journal, **setting)
    async with open_http(our_command if token else our_open_command, settings, headers) as server:
        yield server


@asynccontextmanager
async def open_bare(upstream: Upstream) -> AsyncIterator[Server]:
    async with open_http(bare_command, upstream.for_bare(), ()) as server:
        yield server


def our_command(port: int) -> list[str]:
    return ["-m", "kros_mcp", "http", "--port", str(port)]


def our_open_command(port: int) -> list[str]:
    return [*our_command(port), "--no-auth"]


def bare_command(port: int) -> list[str]:
    return [str(HERE / "bare_reader.py"), str(port)]


@asynccontextmanager
async def open_http(command: Command, environment: dict[str, str], headers: tuple[str, ...]) -> AsyncIterator[Server]:
    """Start a server over HTTP, and give it once it listens."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command(port),
        env=bare_environment() | environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(port, process)
        yield Server(Door(port, headers), process.pid)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until somebody listens at a port.

    Raises:
        RuntimeError: The process has ended.
    """
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.002)
    raise RuntimeError(f"a server ended with {process.returncode} instead of listening")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
