"""Replicas of the HTTP service: real processes, which are killed, frozen, told to stop and started again."""

import hashlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import anyio
from anyio.abc import ByteReceiveStream, Process

from .proxy import Proxy

EVERYTHING = ("numbers:read", "numbers:configure", "numbers:buy", "numbers:release")
_SERVING = re.compile(rb"serving http://127\.0\.0\.1:(\d+)/mcp")


def token_of(name: str) -> str:
    """The token of a principal in tests."""
    return f"token-of-{name}-that-is-used-in-tests-only"


def write_tokens(path: Path, names: Iterable[str], organizations: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write a tokens file in which each of these may do everything, in its organization if it has one."""
    scopes = ", ".join(f'"{scope}"' for scope in EVERYTHING)
    path.write_text(
        "".join(
            f'[tokens.{name}]\nsha256 = "{hashlib.sha256(token_of(name).encode()).hexdigest()}"\nscopes = [{scopes}]\n'
            + (f'organization_id = "{organizations[name]}"\n' if name in organizations else "")
            for name in names
        ),
        encoding="utf-8",
    )
    path.chmod(0o600)
    return path


@dataclass
class Service:
    """One process of the service; `port` is known once it serves, and None again when it has ended."""

    process: Process
    log: Path
    port: int | None = None
    frozen: bool = False
    serving: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Set once nobody holds its stderr any more, no worker of its either."""
    wrote: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def is_running(self) -> bool:
        return self.port is not None and not self.frozen and not self.ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.process.returncode is None:
                os.kill(self.process.pid, number)

    def freeze(self) -> None:
        self.frozen = True
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self.signal(signal.SIGCONT)

    async def served(self) -> None:
        """Wait until it serves.

        Raises:
            RuntimeError: It ended before.
        """
        await self.serving.wait()
        if self.port is None:
            raise RuntimeError(f"The service did not start: {self.log.read_text(encoding='utf-8')}")

    async def says(self, words: str, times: int) -> None:
        """Wait until it has written these words to stderr so many times."""
        while self.log.read_text(encoding="utf-8").count(words) < times:
            await self.wrote.wait()

    async def refuses(self) -> None:
        """Wait until it takes no more callers, having been told to stop."""
        with suppress(OSError):
            while True:
                async with await anyio.connect_tcp("127.0.0.1", self.port or 0):
                    await anyio.lowlevel.checkpoint()

    async def watch(self) -> None:
        """Keep what it writes to stderr, and learn where it serves, until it has ended; nothing cancels this."""
        assert self.process.stderr is not None
        with anyio.CancelScope(shield=True):
            await self._read(self.process.stderr)
            await self.process.wait()
        self.port = None
        self.serving.set()
        self.ended.set()

    async def _read(self, stderr: ByteReceiveStream) -> None:
        told = b""
        with self.log.open("ab") as log:
            async for chunk in stderr:
                log.write(chunk)
                log.flush()
                told += chunk
                self.wrote.set()
                self.wrote = anyio.Event()
                if self.port is None and (found := _SERVING.search(told)):
                    self.port = int(found[1])
                    self.serving.set()


@asynccontextmanager
async def open_service(arguments: Iterable[str], settings: Mapping[str, str], log: Path) -> AsyncIterator[Service]:
    """Start `kros-mcp http`, and end it on leaving, whatever state it is in; it may not serve yet."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    process = await anyio.open_process(
        [sys.executable, "-m", "kros_mcp", "http", "--port", "0", *arguments],
        env={**kept, "NO_PROXY": "127.0.0.1", **settings},
        stdin=None,
        stdout=None,
        start_new_session=True,  # a Ctrl-C at the terminal is for whoever started it, who then ends it
    )
    service = Service(process, log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.watch)
        try:
            yield service
        finally:
            with anyio.CancelScope(shield=True):
                service.signal(signal.SIGKILL)
                await service.ended.wait()
                await process.aclose()


@dataclass
class Fleet:
    """Replicas behind a proxy; `url` is the proxy's."""

    proxy: Proxy
    url: str
    arguments: tuple[str, ...]
    settings: tuple[Mapping[str, str], ...]
    """What each replica is told by its environment."""
    folder: Path
    services: list[Service | None]
    on_start: Callable[[int, int], None] = lambda _place, _pid: None
    """Called with place and process of each that serves."""
    changed: anyio.Event = field(default_factory=anyio.Event)

    def __getitem__(self, place: int) -> Service:
        service = self.services[place]
        assert service is not None
        return service

    async def live(self, place: int, *, again: bool) -> None:
        """Run a replica; start it again whenever it has ended, if so wanted. Until cancelled."""
        while True:
            log = self.folder / f"replica-{place}.stderr"
            async with open_service(self.arguments, self.settings[place], log) as service:
                self.services[place] = service
                await service.serving.wait()
                self.proxy.ports[place] = service.port
                if service.port is not None:
                    self.on_start(place, service.process.pid)
                self._tell()
                await service.ended.wait()
                self.proxy.ports[place] = None
                self._tell()
            if not again:
                return

    async def all_up(self) -> None:
        """Wait until every replica serves."""
        while None in self.proxy.ports:
            await self.changed.wait()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


@asynccontextmanager
async def open_fleet(
    settings: Iterable[Mapping[str, str]],
    folder: Path,
    *arguments: str,
    again: bool = True,
    patience_seconds: float = 60,
) -> AsyncIterator[Fleet]:
    """Start replicas, one for each of `settings`, and the proxy before them.

    Args:
        settings: The environment of each replica.
        folder: Takes their stderr.
        arguments: What follows `kros-mcp http --port 0`.
        again: Start a replica again when it has ended.
        patience_seconds: See `Proxy`.
    """
    every = tuple(settings)
    proxy = Proxy(len(every), patience_seconds=patience_seconds)
    async with proxy.open() as url, anyio.create_task_group() as tasks:
        fleet = Fleet(proxy, url, arguments, every, folder, [None] * len(every))

        async def live(place: int) -> None:
            await fleet.live(place, again=again)

        for place in range(len(every)):
            tasks.start_soon(live, place)
        try:
            yield fleet
        finally:
            tasks.cancel_scope.cancel()
