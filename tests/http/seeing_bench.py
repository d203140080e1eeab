"""A service in a process of its own, whose log is read to its end; and one in this process, called as over HTTP."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kros_mcp.http.access import Access
from kros_mcp.http.app import open_service
from kros_mcp.http.logs import JsonFormatter
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime

STOP_SECONDS = 30


@dataclass
class Served:
    """`kros-mcp http` at an address; `log` is whole once it has been stopped."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log, each line parsed; one that is not JSON fails."""
        return [json.loads(line) for line in self.log]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=STOP_SECONDS)
        self.log += rest.splitlines()


@contextmanager
def serving(*arguments: str, simulated: bool = True, **environment: str) -> Iterator[Served]:
    """Serve the simulator, or what the environment says, without authentication at a free port of this machine."""
    of_what = ["--simulator"] if simulated else []
    command = [sys.executable, "-m", "kros_mcp", "http", *of_what, "--no-auth", "--port", "0", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KROS_", "OTEL_"))}
    with subprocess.Popen(command, env=clean | environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            begun: list[str] = []
            while not (found := re.findall(r"serving (http://[0-9.:]+)", begun[-1] if begun else "")):
                begun.append(process.stderr.readline())
                assert begun[-1], begun  # it has ended instead
            served = Served(process, found[0], begun)
            yield served
            if process.poll() is None:
                served.stop()
        finally:
            process.kill()


@dataclass
class Here:
    """A service in this process, and clients that reach it."""

    app: Any
    runtime: Runtime
    http: httpx.AsyncClient

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[Client]:
        """Speak MCP in its newest revision."""
        way = httpx.ASGITransport(app=self.app)
        async with (
            httpx.AsyncClient(transport=way, headers=headers) as http,
            Client(streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http), mode="auto") as client,
        ):
            yield client


@asynccontextmanager
async def open_here(sim: Simulator, access: Access | None = None, **settings: Any) -> AsyncIterator[Here]:
    defaults = {
        "api_key": sim.api_key,
        "base_url": "https://simulator.invalid/v1",
        "journal_url": "sqlite://:memory:",
        "answer_within_seconds": 20,
    }
    async with open_service(Settings(**(defaults | settings)), access, transport=transport(sim)) as service:
        way = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=way, base_url="http://127.0.0.1:8000") as http:
            yield Here(service.app, service.runtime, http)


@contextmanager
def json_log() -> Iterator[list[dict[str, Any]]]:
    """Collect what this program logs, as the service would write it."""
    lines: list[dict[str, Any]] = []
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("kros_mcp")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


@dataclass
class Collector:
    """A receiver of OTLP on this machine: what was posted, by path."""

    url: str
    posted: list[tuple[str, bytes]]


@contextmanager
def collecting() -> Iterator[Collector]:
    posted: list[tuple[str, bytes]] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Collector(f"http://127.0.0.1:{server.server_port}", posted)
        finally:
            server.shutdown()
            thread.join()
