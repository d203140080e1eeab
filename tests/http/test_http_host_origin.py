"""Host and Origin, on every route, before anything else: DNS rebinding and cross-origin pages get nowhere."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import anyio
import pytest

from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.simulator import Simulator
from tests.support.web import Web, access_for, modern, open_web

pytestmark = pytest.mark.anyio

ROUTES = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("OPTIONS", "/mcp"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/approvals"),
    ("POST", "/approvals/sign-in"),
    ("GET", "/nowhere"),
]
PROBES = [("GET", "/healthz"), ("GET", "/readyz")]
FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8000",
    "evil.example:127.0.0.1",
    "user@127.0.0.1",
    "127.0.0.1:80:80",
    "localhost:",
    "localhost:80a",
    "[::2]",
    "",
]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "http://127.0.0.1.evil.example",
    "https://127.0.0.1",
    "http://localhost:80.evil.example",
    "http://user@localhost",
    "null",
    "",
]


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web(
        Simulator("reference"), access_for("agent"), public_url="https://numbers.example.com"
    ) as opened:
        yield opened


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_name_that_was_rebound_is_answered_nowhere(web: Web, method: str, path: str) -> None:
    asked = len(web.sim.requests)
    async with web.client(authorization="Bearer agent") as client:
        for host in FOREIGN_HOSTS:
            answer = await client.request(method, path, headers={"host": host})
            assert answer.status_code in ({421} if host else {400, 421}), host
    assert len(web.sim.requests) == asked


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *PROBES])
async def test_a_page_of_another_origin_is_answered_nowhere(web: Web, method: str, path: str) -> None:
    asked = len(web.sim.requests)
    async with web.client(authorization="Bearer agent") as client:
        for origin in FOREIGN_ORIGINS:
            answer = await client.request(method, path, headers={"origin": origin})
            assert (origin, answer.status_code) == (origin, 403)
            assert "access-control-allow-origin" not in answer.headers
    assert len(web.sim.requests) == asked


async def test_a_request_without_a_host_or_with_two_is_refused(web: Web) -> None:
    port = urlsplit(web.url).port
    for head in ("", "Host: 127.0.0.1\r\nHost: evil.example\r\n"):
        async with await anyio.connect_tcp("127.0.0.1", port or 0) as stream:
            await stream.send(f"GET /mcp HTTP/1.{1 if head else 0}\r\n{head}\r\n".encode())
            answer = await stream.receive()
        assert answer.split()[1] in {b"400", b"421"}, answer


async def test_white_space_around_a_header_does_not_belong_to_its_value(web: Web) -> None:
    url = urlsplit(web.url)
    request = modern("tools/call", {"name": "get_spending", "arguments": {}}, authorization="Bearer agent")
    given = {**request["headers"], "host": url.netloc, "connection": "close", "content-length": len(request["content"])}
    head = "".join(f"{name}: \t {value} \t\r\n" for name, value in given.items())
    async with await anyio.connect_tcp("127.0.0.1", url.port or 0) as stream:
        await stream.send(f"POST /mcp HTTP/1.1\r\n{head}\r\n{request['content']}".encode())
        answer = b"".join([piece async for piece in stream])
    assert answer.split()[1] == b"200", answer
    assert b"structuredContent" in answer


async def test_its_own_names_are_answered_whatever_their_case_and_port(web: Web) -> None:
    port = urlsplit(web.url).port
    async with web.client(authorization="Bearer agent") as client:
        for host in (f"127.0.0.1:{port}", "LOCALHOST", "[::1]:9", "numbers.example.com", "Numbers.Example.com:443"):
            for origin in ({}, {"origin": "http://localhost:6274"}, {"origin": "https://numbers.example.com"}):
                answer = await client.post("/mcp", **modern("tools/list", None, host=host, **origin))
                assert answer.status_code == 200


async def test_pages_of_this_machine_may_not_call_a_service_that_others_reach() -> None:
    async with open_web(Simulator("reference"), access_for("agent"), loopback=False) as web, web.client() as client:
        answer = await client.post(
            "/mcp", **modern("tools/list", None, origin="http://localhost:3000", authorization="Bearer agent")
        )
    assert answer.status_code == 403


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(web: Web) -> None:
    async with web.client(authorization="Bearer agent") as client:
        for path, status in (("/mcp", 413), ("/nowhere", 404), ("/approvals", 413)):
            form = {"content-type": "application/x-www-form-urlencoded"}
            told = await client.post(path, content=b" " * (LONGEST_MESSAGE_BYTES + 1), headers=form)
            assert told.status_code == status

            async def pieces() -> AsyncIterator[bytes]:
                for _ in range(9):
                    yield b" " * (LONGEST_MESSAGE_BYTES // 8)

            untold = await client.post(path, content=pieces(), headers=form)
            assert untold.status_code == status


async def test_a_websocket_is_not_opened(web: Web) -> None:
    url = urlsplit(web.url)
    async with await anyio.connect_tcp("127.0.0.1", url.port or 0) as stream:
        await stream.send(
            b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        answer = await stream.receive()
    assert answer.split()[1] != b"101"
