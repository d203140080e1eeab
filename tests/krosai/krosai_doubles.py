"""Stand-ins for KrosAI: an in-process transport for most tests, a real TCP server where bytes matter."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx

from kros_mcp.krosai import KrosClient, Order, open_client

KEY = "kros_test_CANARY0123456789"
BASE = "https://kros.test/v1"
ORDER = Order(inventory_id="inv_1", total_cents=500)
OWNED = {"id": "pn_1", "e164": "+2348035550123"}
FOR_SALE = {"id": "inv_1", "e164": "+2348035550123", "country": "NG", "type": "mobile"}

CERTAINLY_NOT_SENT = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
}

Handler = Callable[[httpx.Request], httpx.Response]


class Script:
    """Answers each request with the next of the given answers (the last one for ever), and keeps them."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)


def speaking_to(handler: Handler, **settings: Any) -> AbstractAsyncContextManager[KrosClient]:
    transport = httpx.MockTransport(handler)
    return open_client(**({"base_url": BASE, "api_key": KEY, "transport": transport} | settings))


class TcpServer:
    """What a loopback server received, connection by connection."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


Behaviour = Callable[[TcpServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(behave: Behaviour) -> AsyncIterator[TcpServer]:
    server = TcpServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(server, reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def read_request(server: TcpServer, reader: asyncio.StreamReader) -> bool:
    """Keep one request with its body; False where the client has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0])) if lengths else b""
    server.received.append(head + body)
    return True


async def keep_alive_answers(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on the connection with one number."""
    while await read_request(server, reader):
        body = b'{"id":"pn_1","e164":"+2348035550123"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


class StoppedError(Exception):
    pass


def every_httpx_error() -> list[Exception]:
    def below(parent: type[Exception]) -> set[type[Exception]]:
        return {parent}.union(*(below(child) for child in parent.__subclasses__()))

    roots = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict)
    kinds = set().union(*(below(root) for root in roots))
    request = httpx.Request("GET", BASE)
    made: list[Exception] = []
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        if kind is httpx.HTTPStatusError:
            made.append(kind(KEY, request=request, response=httpx.Response(500)))
        elif kind in (httpx.StreamConsumed, httpx.ResponseNotRead, httpx.RequestNotRead, httpx.StreamClosed):
            made.append(kind())
        else:
            made.append(kind(KEY))
    return made


def described(error: BaseException) -> str:
    """Everything that a log, a traceback or a result could show of an error and of those behind it."""
    told = [repr(error), str(error), repr(vars(error))]
    for behind in (error.__cause__, error.__context__):
        told += [described(behind)] if behind is not None else []
    return " ".join(told)
