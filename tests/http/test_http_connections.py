"""What a connection may do to the service before anybody knows whose it is: heads, bodies, trailers, and time."""

import asyncio
import gc
import http.client
import itertools
import json
import logging
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

import h11
import pytest
from approvals_bench import AGENT, KEY, Tokens
from starlette.types import Receive, Scope, Send

from kros_mcp.http import connection_limits, h11_protocol
from kros_mcp.http.access import Access
from kros_mcp.http.app import open_service
from kros_mcp.http.uvicorn_server import uvicorn_config
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from tests.support.talk import settings_for
from tests.support.web import Web, access_for, modern, open_listening, open_web, opening

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 10.0
STREAMS = 500
BEGINNING = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
KNOWN, STRANGER = b"Authorization: Bearer agent\r\n", b"Authorization: Bearer nobody\r\n"


class Wire:
    """One connection, on which bytes are sent and answers are read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, with a body of the length that it tells."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return status, headers, await self._reader.readexactly(int(headers.get("content-length", 0)))

    async def rest(self) -> bytes:
        """All that comes until the other end closes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read()

    async def first(self) -> bytes:
        """The first piece of what comes; empty if the other end closes instead."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read(65_536)

    async def is_cut(self) -> None:
        """Wait until the other end takes nothing any more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionError):
                while True:
                    await self.send(b"x" * 65_536)


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web(Simulator("reference"), access_for("agent")) as opened:
        yield opened


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what takes too long be found at once."""
    monkeypatch.setattr(connection_limits, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(h11_protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(h11_protocol, "BODY_SECONDS", 0.2)


def call(**headers: str) -> bytes:
    """A whole request that lists tools, as the modern protocol has it."""
    request = modern("tools/list", None, **headers)
    given = {**request["headers"], "content-length": len(request["content"])}
    return BEGINNING + raw(given) + b"\r\n" + request["content"].encode()


def raw(headers: dict[str, Any]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def chunked(
    request: dict[str, Any], trailers: bytes, path: str = "/mcp", host: bytes = b"Host: 127.0.0.1\r\n"
) -> bytes:
    """A request whose body comes in one chunk, with trailers after it."""
    content = request["content"].encode()
    head = f"POST {path} HTTP/1.1\r\n".encode() + host + raw(request["headers"]) + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(content), content, trailers)


async def is_alive(web: Web) -> bool:
    async with web.client() as client:
        return (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("filler", [b"X-More: yyyyyyyy\r\n", b"X-Long: "])
async def test_a_head_without_an_end_is_answered_and_cut_off(
    web: Web, monkeypatch: pytest.MonkeyPatch, filler: bytes
) -> None:
    monkeypatch.setattr(h11_protocol, "DRAIN_BYTES", 2**20)
    async with wire(web.url) as client:
        await client.send(BEGINNING + filler * (1 if filler.endswith(b" ") else 5_000) + b"z" * 90_000)
        status, headers, told = await client.answer()
        assert (status, headers["connection"], told) == (431, "close", b"The head of the request is too long.\n")
        await client.is_cut()
    assert await is_alive(web)


async def test_a_head_that_holds_the_longest_token_is_read(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(BEGINNING + b"Authorization: Bearer %b\r\nContent-Length: 0\r\n\r\n" % (b"t" * 16_384))
        assert (await client.head())[0] == 401


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET /\x00 HTTP/1.1\r\n\r\n", BEGINNING + b"X Y: x\r\n\r\n"]
)
async def test_what_is_no_request_is_told_so(web: Web, junk: bytes) -> None:
    async with wire(web.url) as client:
        await client.send(junk)
        status, _, told = await client.answer()
        assert (status, told) == (400, b"This is not an HTTP request.\n")
        assert await client.rest() == b""


async def test_blank_lines_before_a_request_are_skipped(web: Web) -> None:
    blank = b"\r\n" * h11_protocol.BLANK_LINES
    right = call(authorization="Bearer agent")
    async with wire(web.url) as client:
        await client.send(blank + right + b"\r\n" + right + blank)
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
        await client.send(right)
        assert (await client.answer())[0] == 200
    for pieces in ((b"\r", b"\n", right), (blank, right), (blank + right[:1], right[1:])):
        async with wire(web.url) as client:
            for piece in pieces:
                await client.send(piece)
                assert await is_alive(web), "by now the piece has been read"
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize("blank", [b"\r\n" * (h11_protocol.BLANK_LINES + 1), b"\r", b"\r\r\n"])
async def test_more_blank_lines_than_that_are_no_request(web: Web, blank: bytes) -> None:
    async with wire(web.url) as client:
        await client.send(blank + call(authorization="Bearer agent"))
        assert (await client.answer())[0] == 400
        assert await client.rest() == b""


async def test_blank_lines_do_not_hide_the_lines_of_a_head(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(b"\r\n\r\n" + BEGINNING + b"a:\r\n" * (h11_protocol.HEAD_LINES + 1) + b"\r\n")
        assert (await client.answer())[0] == 431


@pytest.mark.usefixtures("_hurried")
async def test_who_sends_blank_lines_alone_is_left_without_a_word(web: Web) -> None:
    async with wire(web.url) as fresh, wire(web.url) as kept:
        await kept.send(call(authorization="Bearer agent") + b"\r\n")
        assert (await kept.answer())[0] == 200
        await fresh.send(b"\r\n")
        for client in (fresh, kept):
            assert await client.rest() == b""


async def test_a_token_in_a_trailer_is_none(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(chunked(modern("tools/list"), KNOWN))
        assert (await client.head())[0] == 401
    async with wire(web.url) as client:
        await client.send(chunked(modern("tools/list", None, authorization="Bearer agent"), STRANGER))
        assert (await client.head())[0] == 200


async def test_a_host_in_a_trailer_is_none(web: Web) -> None:
    right = modern("tools/list", None, authorization="Bearer agent")
    for host, trailers, expected in (
        (b"Host: 127.0.0.1\r\n", b"Host: evil.example\r\nOrigin: http://evil.example\r\n", 200),
        (b"Host: evil.example\r\n", b"Host: 127.0.0.1\r\n", 421),
        (b"", b"Host: 127.0.0.1\r\n", 400),
    ):
        async with wire(web.url) as client:
            await client.send(chunked(right, trailers, host=host))
            assert (await client.head())[0] == expected


async def test_an_address_in_a_trailer_does_not_let_anybody_guess_on() -> None:
    sim = Simulator("reference")
    settings = settings_for(sim, state_keys=KEY, trusted_proxies="127.0.0.1/32")
    access = Access(Tokens(), own_limits=lambda _: Limits())
    statuses = []
    async with (
        open_service(settings, access, transport=transport(sim)) as service,
        open_listening(service.app, settings) as url,
    ):
        form = {"content": urlencode({"credential": AGENT}), "headers": {"origin": url}}
        form["headers"] |= {"content-type": "application/x-www-form-urlencoded", "x-forwarded-for": "10.0.0.1"}
        for nth in range(6):
            async with wire(url) as client:
                trailer = b"X-Forwarded-For: 10.0.1.%d\r\n" % nth
                await client.send(chunked(form, trailer, "/approvals", f"Host: {urlsplit(url).netloc}\r\n".encode()))
                statuses.append((await client.head())[0])
    assert statuses == [403] * 5 + [429]


@pytest.mark.usefixtures("_hurried")
async def test_a_head_that_does_not_come_in_time_is_given_up(web: Web) -> None:
    async with wire(web.url) as silent, wire(web.url) as half, wire(web.url) as second:
        await half.send(BEGINNING)
        await second.send(call(authorization="Bearer agent"))
        assert (await second.answer())[0] == 200
        await second.send(BEGINNING)
        for client in (half, second):
            status, headers, told = await client.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert told == b"The request took too long to come.\n"
            assert await client.rest() == b""
        assert await silent.rest() == b""
    assert await is_alive(web)


@pytest.mark.usefixtures("_hurried")
async def test_a_body_that_does_not_come_in_time_is_given_up(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(BEGINNING + KNOWN + b"Content-Length: 10\r\n\r\n{")
        assert (await client.answer())[0] == 408
        assert await client.rest() == b""
    assert await is_alive(web)


async def test_a_strangers_body_is_not_waited_for(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(BEGINNING + STRANGER + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
        status, headers, told = await client.answer()
        assert (status, headers["connection"]) == (401, "close")
        assert b"token" in told


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize(("token", "status"), [("agent", 413), ("nobody", 401)])
async def test_who_writes_a_body_of_ten_megabytes_whole_sees_why_it_is_refused(
    web: Web, *, closing: bool, chunks: bool, token: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if closing:
        headers["Connection"] = "close"

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    def post() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(web.url).port or 0, timeout=PATIENCE_SECONDS)
        try:
            body = pieces() if chunks else b" " * 10_000_000
            connection.request("POST", "/mcp", body=body, headers=headers, encode_chunked=chunks)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    answered, told = await asyncio.to_thread(post)
    assert answered == status
    assert (json.loads(told)["error"]["message"] == "The body is longer than 256 KiB.") is (status == 413)


async def test_who_waits_for_leave_to_send_a_body_is_refused_before_it(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(BEGINNING + KNOWN + b"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
        assert (await client.answer())[0] == 413
    async with wire(web.url) as client:
        request = call(authorization="Bearer agent", expect="100-continue")
        head, _, body = request.partition(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert (await client.head())[0] == 100
        await client.send(body)
        assert (await client.answer())[0] == 200


async def test_a_body_that_goes_on_after_its_refusal_is_cut_off(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11_protocol, "DRAIN_BYTES", 2**20)
    async with wire(web.url) as client:
        await client.send(BEGINNING + KNOWN + b"Content-Length: 1000000000000\r\n\r\n")
        assert (await client.answer())[0] == 413
        await client.is_cut()


async def test_of_a_head_that_was_refused_nothing_is_kept(web: Web) -> None:
    """Who is refused may stay some seconds longer, and a thousand at once could leave 64 KiB each."""
    async with wire(web.url) as client:
        await client.send(BEGINNING + b"X-Long: " + b"z" * 60_000)
        assert (await client.answer())[0] == 431
        gc.collect()
        parsers = [one for one in gc.get_objects() if isinstance(one, h11.Connection)]
    assert sum(len(parser.trailing_data[0]) for parser in parsers) == 0


async def test_who_says_nothing_after_its_refusal_is_cut_off(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(h11_protocol, "DRAIN_SECONDS", 0.1)
    async with wire(web.url) as client:
        await client.send(BEGINNING + STRANGER + b"Content-Length: 1000\r\n\r\n")
        assert (await client.answer())[0] == 401
        assert await client.rest() == b""
        await client.is_cut()


class Listener(logging.Handler):
    """Waits for a line of the log."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words, self._is_logged = words, asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self._is_logged.set()

    async def heard(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._is_logged.wait()


@pytest.fixture
def eviction_log() -> Iterator[Listener]:
    listener = Listener("gave way to new ones: KROS_MAX_CONNECTIONS is 4")
    connection_limits.logger.addHandler(listener)
    yield listener
    connection_limits.logger.removeHandler(listener)


async def test_one_connection_too_many_makes_the_oldest_half_sent_head_give_way(
    eviction_log: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "SWEEP_SECONDS", 0.02)
    async with (
        open_web(Simulator("reference"), access_for("agent"), max_connections=4) as web,
        wire(web.url) as kept,
        wire(web.url) as first,
        wire(web.url) as second,
        wire(web.url) as third,
    ):
        await kept.send(call(authorization="Bearer agent"))
        assert (await kept.answer())[0] == 200
        for client in (first, second, third):
            await client.send(BEGINNING)
        async with wire(web.url) as good:
            await good.send(call(authorization="Bearer agent"))
            assert (await good.answer())[0] == 200
            await first.is_cut()
            await second.send(STRANGER + b"Content-Length: 0\r\n\r\n")
            assert (await second.answer())[0] == 401
        async with wire(web.url) as one, wire(web.url) as more, wire(web.url) as last:
            for client in (one, more, last):
                await client.send(BEGINNING)
            await third.is_cut()
            # Whoever has shown a token gives way last.
            await kept.send(call(authorization="Bearer agent"))
            assert (await kept.answer())[0] == 200
        await eviction_log.heard()


async def test_where_every_connection_is_being_answered_another_is_told_to_try_again() -> None:
    begun, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        begun.release()
        await may_end.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with open_listening(app, Settings(max_connections=2)) as url, wire(url) as first, wire(url) as second:
        for client in (first, second):
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.acquire()
        async with wire(url) as third:
            status, headers, told = await third.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            assert told == b"This replica has no room for another connection now. Try again.\n"
        may_end.set()
        for client in (first, second):
            assert (await client.head())[0] == 204


async def test_who_reads_nothing_of_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(h11_protocol, "STALL_SECONDS", 0.1)
    ended = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with open_listening(app) as url, wire(url) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()


async def test_who_reads_again_after_a_while_gets_its_answer_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "SWEEP_SECONDS", 0.02)
    stalled, has_read, may_end, is_cut = [asyncio.Event() for _ in range(4)]
    most = b"x" * 20_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": most, "more_body": True})
        if scope["path"] == "/reads":
            stalled.set()
            await send({"type": "http.response.body", "body": b"", "more_body": True})  # once the client reads
            has_read.set()
            await may_end.wait()
            await send({"type": "http.response.body", "body": b""})
        while (await receive())["type"] != "http.disconnect":
            pass
        is_cut.set()

    async with open_listening(app) as url, wire(url) as reads, wire(url) as stalls, asyncio.timeout(PATIENCE_SECONDS):
        await reads.send(b"GET /reads HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await stalls.send(b"GET /stalls HTTP/1.1\r\nHost: x\r\n\r\n")
        await stalled.wait()
        rest = asyncio.create_task(reads.rest())
        await has_read.wait()
        monkeypatch.setattr(h11_protocol, "STALL_SECONDS", 0.0)
        await is_cut.wait()
        may_end.set()
        told = await rest
    assert len(told) > len(most)
    assert told.endswith(b"0\r\n\r\n")


async def test_a_body_is_read_no_further_than_it_came_with_its_head_until_somebody_asks_for_it() -> None:
    begun, may_ask = asyncio.Event(), asyncio.Event()
    pieces: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            begun.set()
            await may_ask.wait()
            more = True
            while more:
                message = await receive()
                pieces.append(len(message["body"]))
                more = message["more_body"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with open_listening(app) as url, wire(url) as sends, wire(url) as after:
        await sends.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40010\r\n\r\n" + b"x" * 10)
        await begun.wait()
        await sends.send(b"x" * 40_000)
        await after.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await after.head())[0] == 204, "what came before it could have been read"
        may_ask.set()
        assert (await sends.head())[0] == 204
    assert (pieces[0], sum(pieces)) == (10, 40_010)


async def test_an_idle_connection_outlives_those_of_common_balancers() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    assert uvicorn_config(app, Settings()).timeout_keep_alive > 60
    async with open_listening(app, Settings(keep_alive_seconds=1)) as url, wire(url) as client:
        for _ in range(2):
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.head())[0] == 204
        assert await client.rest() == b""


@pytest.mark.parametrize("opened", [True, False])
async def test_an_old_client_gets_no_chunks(web: Web, *, opened: bool) -> None:
    request = {"content": json.dumps(opening())} if opened else modern("tools/list")
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    given = headers | request.get("headers", {}) | {"content-length": len(request["content"])}
    async with wire(web.url) as client:
        await client.send(b"POST /mcp HTTP/1.0\r\nHost: 127.0.0.1\r\n" + KNOWN + raw(given) + b"\r\n")
        await client.send(request["content"].encode())
        status, answered = await client.head()
        told = await client.rest()
    assert (status, "transfer-encoding" in answered, answered["connection"]) == (200, False, "close")
    assert json.loads(told[told.index(b"{") :])["result"]


@pytest.mark.parametrize(("limit", "connections", "backlog"), [(1_024, 512, 256), (300, 1, 75), (20_000, 1_000, 1_024)])
def test_there_are_no_more_connections_than_the_system_permits(limit: int, connections: int, backlog: int) -> None:
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, {limit}));"
        "from kros_mcp.http.connection_limits import limits_for; limits = limits_for(1_000); "
        "print(limits.connections, limits.backlog)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(connections), str(backlog)]
    assert ("limits open files (ulimit -n)" in found.stderr) is (limit < 20_000)


def streams(seed: int, count: int) -> Iterator[list[bytes]]:
    """What nearly speaks HTTP, each in the pieces in which it is sent."""
    chance = random.Random(seed)  # noqa: S311 - a fuzz run that can be repeated
    right = call(authorization="Bearer agent")
    wholes = [right, right * 2, chunked(modern("tools/list", None, authorization="Bearer agent"), KNOWN), BEGINNING]
    for _ in range(count):
        data = bytearray(chance.choice(wholes))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(max(1, len(data)))
            match chance.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del data[at : at + chance.randrange(40)]
                case 2:
                    data[at:at] = chance.choice(PIECES)
                case _:
                    del data[at + 1 :]
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(3)))
        yield [bytes(data[begin:end]) for begin, end in itertools.pairwise([0, *cuts, len(data)])]


PIECES = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\x00", b" HTTP/1.0", b"CONNECT x:1", b"ffffffffff\r\n", b"y" * 40_000,
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
)  # fmt: skip


@pytest.mark.usefixtures("_hurried")
async def test_no_seeded_stream_crashes_a_connection_or_goes_unanswered(
    web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    # A busy machine may take a while between accepting a connection and reading it; unread, it would count as idle.
    monkeypatch.setattr(h11_protocol, "HEAD_SECONDS", 1.0)
    coming = streams(20_260_728, STREAMS)

    async def send() -> None:
        for pieces in coming:
            async with wire(web.url) as client:
                with suppress(ConnectionError):
                    for piece in pieces:
                        await client.send(piece)
                # One that sent blank lines at most is closed; any other is answered, if only when its head is late.
                answered = await client.first()
                assert answered.startswith(b"HTTP/1.1 ") or not b"".join(pieces).strip(b"\r\n"), pieces
                assert b" 500 " not in answered, pieces

    async with asyncio.TaskGroup() as tasks:
        for _ in range(25):
            tasks.create_task(send())
    assert await is_alive(web)
    assert not caplog.records


async def test_half_a_request_holds_up_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with AsyncExitStack() as stack:
        async with open_web(Simulator("reference"), access_for("agent")) as web:
            half, refused = [await stack.enter_async_context(wire(web.url)) for _ in range(2)]
            await half.send(BEGINNING)
            await refused.send(BEGINNING + STRANGER + b"Content-Length: 1000\r\n\r\n")
            assert (await refused.answer())[0] == 401
        assert "exceeded" not in caplog.text


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_head_of_very_many_lines_is_refused_before_it_is_read(web: Web, *, at_once: bool) -> None:
    """Each line costs the parser more than a plain request, and thousands fit into the bytes that a head may have."""
    lines = b"a:\r\n" * (h11_protocol.HEAD_LINES + 1)
    async with wire(web.url) as client:
        for part in (BEGINNING + lines + b"\r\n",) if at_once else (BEGINNING, lines[:40], lines[40:]):
            await client.send(part)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (431, "close")
    async with wire(web.url) as client:  # lines of a body are not counted
        request = modern("tools/list", None, authorization="Bearer agent")
        content = request["content"].encode() + b"\n" * 1_000
        head = BEGINNING + raw({**request["headers"], "content-length": len(content)})
        for _ in range(2):
            await client.send(head + b"\r\n" + content)
            assert (await client.answer())[0] == 200


async def test_what_a_stranger_sends_behind_a_request_is_not_answered(web: Web) -> None:
    """Each answer would begin the next request at once, past every caller who waits for a turn."""
    async with wire(web.url) as client:
        await client.send(b"GET /q HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 500)
        answers = await client.rest()
    assert answers.count(b"HTTP/1.1 ") == 1
    async with wire(web.url) as client:
        await client.send(call(authorization="Bearer agent") * 3)
        assert [(await client.answer())[0] for _ in range(3)] == [200] * 3


async def test_strangers_who_come_at_once_are_heard_a_few_in_each_turn(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "READS_A_TURN", 2)
    turn, heard, all_heard = 0, Counter[int](), asyncio.Event()
    loop, read = asyncio.get_running_loop(), h11_protocol.BoundedH11Protocol.data_received

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def note(connection: h11_protocol.BoundedH11Protocol, data: bytes) -> None:
        heard[turn] += 1
        read(connection, data)
        if heard.total() == len(strangers):
            all_heard.set()

    async with AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(wire(web.url)) for _ in range(7)]
        monkeypatch.setattr(h11_protocol.BoundedH11Protocol, "data_received", note)
        loop.call_soon(count)
        for client in strangers:
            await client.send(BEGINNING + STRANGER)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await all_heard.wait()
        assert sorted(heard.values()) == [1, 2, 2, 2]
        for client in strangers:  # those who were kept waiting are read again
            await client.send(b"Content-Length: 0\r\n\r\n")
        assert [(await client.answer())[0] for client in strangers] == [401] * len(strangers)


async def test_a_body_of_very_many_chunks_is_refused(web: Web) -> None:
    request = modern("tools/list", None, authorization="Bearer agent")
    head = BEGINNING + raw(request["headers"]) + b"Transfer-Encoding: chunked\r\n\r\n"
    async with wire(web.url) as client:
        await client.send(head + b"1\r\n \r\n" * (h11_protocol.CHUNKS + 1) + b"0\r\n\r\n")
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (400, "close")


async def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(web: Web) -> None:
    """What a proxy that goes by the other length sends behind it would pass for a request of its own."""
    request = modern("tools/list", None, authorization="Bearer agent")
    twice = chunked(request, b"").replace(b"Transfer-Encoding", b"Content-Length: 5\r\nTransfer-Encoding")
    async with wire(web.url) as client:
        await client.send(twice + call(authorization="Bearer agent"))
        answers = await client.rest()
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


async def test_a_request_that_names_the_whole_address_is_answered_like_one_of_its_path(web: Web) -> None:
    whole = call(authorization="Bearer agent").replace(b"POST /mcp", b"POST http://127.0.0.1/mcp")
    async with wire(web.url) as client:
        await client.send(whole)
        assert (await client.answer())[0] == 200


async def test_an_encoding_that_is_not_spoken_is_told_as_such(web: Web) -> None:
    async with wire(web.url) as client:
        await client.send(BEGINNING + b"Transfer-Encoding: gzip, chunked\r\n\r\n")
        status, _, told = await client.answer()
    assert (status, told) == (
        501,
        b"This transfer encoding is not spoken here; send the body as it is, or in chunks.\n",
    )
