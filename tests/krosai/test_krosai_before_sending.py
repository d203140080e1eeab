"""`before_sending` is called before each part of a write, since a process may be frozen between two of them."""

import asyncio
from collections.abc import Callable

import pytest
from krosai_doubles import KEY, ORDER, StoppedError, TcpServer, tcp_server

from kros_mcp.errors import OutcomeUnknownError
from kros_mcp.krosai import KrosClient, Routing, open_client

pytestmark = pytest.mark.anyio


async def keep_everything(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Keep what arrives until the client hangs up; never answer."""
    received = b""
    while chunk := await reader.read(65_536):
        received += chunk
    server.received.append(received)


def raising_at(time: int) -> tuple[Callable[[], None], list[int]]:
    """Return a `before_sending` that raises from the n-th call on, and the list of its calls."""
    asked: list[int] = []

    def check() -> None:
        asked.append(len(asked) + 1)
        if len(asked) >= time:
            raise StoppedError

    return check, asked


async def _purchase(client: KrosClient, check: Callable[[], None]) -> None:
    await client.purchase(ORDER, idempotency_key="a", before_sending=check)


async def _update(client: KrosClient, check: Callable[[], None]) -> None:
    await client.update_number("pn_1", Routing(allow_inbound=True), idempotency_key="a", before_sending=check)


@pytest.mark.parametrize("write", [_purchase, _update])
async def test_a_body_never_follows_its_head_once_the_check_fails(
    write: Callable[[KrosClient, Callable[[], None]], object],
) -> None:
    async with tcp_server(keep_everything) as server, open_client(base_url=server.url, api_key=KEY) as client:
        check, asked = raising_at(3)  # before the connection, before the head, before the body
        with pytest.raises(StoppedError):
            await write(client, check)  # type: ignore[misc]
    assert len(asked) == 3
    for received in server.received:
        head, separator, body = received.partition(b"\r\n\r\n")
        assert (head.split(b" ")[0] in {b"POST", b"PATCH"}, separator, body) == (True, b"\r\n\r\n", b"")


async def test_a_request_without_a_body_does_not_leave_once_the_check_fails() -> None:
    async with tcp_server(keep_everything) as server, open_client(base_url=server.url, api_key=KEY) as client:
        check, asked = raising_at(2)  # before the connection, before the head
        with pytest.raises(StoppedError):
            await client.release_number("pn_1", permanent=False, idempotency_key="a", before_sending=check)
    assert (len(asked), [received for received in server.received if received]) == (2, [])


async def test_a_request_without_a_body_has_left_whole_with_its_head() -> None:
    async def hang_up(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        server.received.append(await reader.readuntil(b"\r\n\r\n"))

    async with tcp_server(hang_up) as server, open_client(base_url=server.url, api_key=KEY) as client:
        check, asked = raising_at(3)
        with pytest.raises(OutcomeUnknownError):
            await client.release_number("pn_1", permanent=False, idempotency_key="a", before_sending=check)
    assert (len(asked), len(server.received)) == (2, 1)
