"""The simulator as a whole: account, faults, keys and application; and two ways to call it, in-process or over TCP."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import anyio
import httpx
import uvicorn
from starlette.types import Message, Scope

from kros_mcp.simulator.admission import ALL_SCOPES, READ_SCOPES, Admission
from kros_mcp.simulator.control import control_routes
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.pipeline import Pipeline, ReceivedRequest, build_app
from kros_mcp.simulator.profiles import PROFILES, ProfileName
from kros_mcp.simulator.shapes import Shapes
from kros_mcp.simulator.state import SimulatedAccount

_MOST_ORGANIZATIONS = 10
_Organization = TypeVar("_Organization", bound=SimulatedAccount)


class Simulator(SimulatedAccount):
    """A KrosAI account that can be called over HTTP; its state may be read and changed at any time.

    Args:
        profile: The document that counts where the two disagree.
        seed: Decides ids, keys and every random choice.
        balance_cents: The credit to begin with.
        stock_per_range: How many numbers of each range are for sale, 0 to 100.
        extra_inventory: How many further mobile numbers are for sale, by country.
        rate_per_second: How many requests a second are answered. Defaults to all.
        honours_idempotency: Answer a repeated write from memory; only [B] promises that.
        extra_keys: Further keys or JWTs, with their scopes.
        sip_password: The SIP password of every number. Defaults to one for each.
        shapes: What it answers in, other than the profile; see `shapes.py`.
        now: Returns the time in Unix seconds.
        organizations: How many there are under one key, each with as much credit; the simulator itself is the first.

    Raises:
        ValueError: There is no such profile or no such inventory.
    """

    def __init__(
        self,
        profile: ProfileName = "reference",
        *,
        seed: int = 0,
        balance_cents: int = 10_000,
        stock_per_range: int = 20,
        extra_inventory: Mapping[str, int] | None = None,
        rate_per_second: int | None = None,
        honours_idempotency: bool = True,
        extra_keys: Mapping[str, Iterable[str]] | None = None,
        sip_password: str | None = None,
        shapes: Shapes | None = None,
        now: Callable[[], float] = time.time,
        organizations: int = 1,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"There is no profile {profile}; there are {', '.join(PROFILES)}.")
        super().__init__(
            PROFILES[profile] if shapes is None else shapes.profile(PROFILES["reference"]),
            seed=seed,
            balance_cents=balance_cents,
            stock_per_range=stock_per_range,
            extra_inventory=extra_inventory or {},
            sip_password=sip_password,
            shapes=shapes,
            now=now,
        )
        self.api_key, self.read_only_key, self.expired_key = (f"kros_test_{self.ids.hex(32)}" for _ in range(3))
        self.requests: list[ReceivedRequest] = []
        self.faults = Faults(random.Random(f"{seed}/faults"))  # noqa: S311 - must repeat, guards nothing
        keys = {key: frozenset(scopes) for key, scopes in (extra_keys or {}).items()}
        admission = Admission(
            keys={**keys, self.api_key: ALL_SCOPES, self.read_only_key: READ_SCOPES},
            expired=frozenset({self.expired_key}),
            organizations=self.organizations,
            per_second=rate_per_second,
            now=now,
        )
        for _ in range(organizations - 1):
            self.add_organization(SimulatedAccount, balance_cents)
        self._pipeline = Pipeline(self, self.faults, admission, self.requests, honours_idempotency)
        shown = {"full": self.api_key, "read-only": self.read_only_key, "expired": self.expired_key}
        self.app = build_app(self._pipeline, control_routes(self._pipeline, shown))

    def add_organization(self, kind: type[_Organization], balance_cents: int) -> _Organization:
        """Let another organization buy from this stock under the same key, with this much credit of its own.

        Raises:
            ValueError: There are ten already; each has numbers of one range of a hundred.
        """
        if len(self.organizations) >= _MOST_ORGANIZATIONS:
            raise ValueError(f"There are {_MOST_ORGANIZATIONS} organizations at most.")
        return kind(
            self.profile,
            seed=0,
            balance_cents=balance_cents,
            stock_per_range=0,
            extra_inventory={},
            sip_password=self._sip_password,
            shapes=self.shapes,
            now=self.now,
            beside=self,
        )

    async def settled(self) -> None:
        """Wait until every API request is answered, even those whose client has gone."""
        await self._pipeline.settled()


_running: set[asyncio.Task[None]] = set()


def transport(sim: Simulator) -> httpx.AsyncBaseTransport:
    """Return a transport that calls the simulator in this process, with the same paths as over TCP.

    It behaves like a connection to a real server: a client that gives up, by read timeout or by
    cancellation, does not stop what it asked for. A lost reply raises httpx.RemoteProtocolError.
    """
    return _InProcessTransport(sim)


class _InProcessTransport(httpx.AsyncBaseTransport):
    def __init__(self, sim: Simulator) -> None:
        self._app = sim.app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        task = asyncio.create_task(self._app(_scope(request), exchange.receive, exchange.send))
        _running.add(task)
        task.add_done_callback(_running.discard)
        # asyncio.wait, unlike wait_for, leaves the task running when the time is over.
        await asyncio.wait({task}, timeout=request.extensions.get("timeout", {}).get("read"))
        if not task.done():
            raise httpx.ReadTimeout("The simulator did not answer in time.", request=request)
        task.result()
        return exchange.response(request)


class _Exchange:
    """The two ends of one ASGI call, with the body kept in memory."""

    def __init__(self, body: bytes) -> None:
        self._incoming = [body]
        self._start: Message | None = None
        self._body = b""
        self._complete = False

    async def receive(self) -> Message:
        if self._incoming:
            return {"type": "http.request", "body": self._incoming.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")
            self._complete = not message.get("more_body", False)

    def response(self, request: httpx.Request) -> httpx.Response:
        if self._start is None or not self._complete:
            raise httpx.RemoteProtocolError("The simulator dropped the connection.", request=request)
        stream = httpx.ByteStream(self._body)
        return httpx.Response(self._start["status"], headers=self._start["headers"], stream=stream)


def _scope(request: httpx.Request) -> Scope:
    path, _, _ = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": path,
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        "root_path": "",
    }


@asynccontextmanager
async def open_server(sim: Simulator, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the simulator over TCP in this event loop; yields the base URL of its API.

    Args:
        sim: What to serve.
        host: The address to listen at.
        port: The port to listen at; 0 for any that is free.

    Raises:
        OSError: The address cannot be listened at.
    """
    # asyncio sends small answers at once only over sockets that say that they are TCP: else each takes 40 ms more.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        server = _SimulatorServer(sim)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.ready.wait()
            yield f"http://{host}:{listener.getsockname()[1]}/v1"
        finally:
            sim.faults.let_go()
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await task


class _SimulatorServer(uvicorn.Server):
    """A uvicorn server that leaves signals to its program, and signals when it is ready."""

    def __init__(self, sim: Simulator) -> None:
        super().__init__(
            uvicorn.Config(
                sim.app,
                log_config=None,  # the logging of the program it runs in is not its to configure
                log_level="critical",  # it would report every lost reply as an error
                lifespan="off",
                ws="none",
                date_header=False,  # the application tells the time of the simulated KrosAI
                timeout_graceful_shutdown=1,
            )
        )
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
