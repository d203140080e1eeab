"""The gate is asked before every part of a write that leaves, since a process may be frozen between two of them."""

import asyncio
from collections.abc import Callable

import pytest
from krosai_doubles import KEY, ORDER, GateShutError, TcpServer, tcp_server

from kros_mcp.errors import OutcomeUnknownError
from kros_mcp.krosai import KrosClient, Routing, open_client

pytestmark = pytest.mark.anyio


async def keep_everything(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Keep what arrives until the client hangs up; never answer."""
    received = b""
    while chunk := await reader.read(65_536):
        received += chunk
    server.received.append(received)


def shut_at(time: int) -> tuple[Callable[[], None], list[int]]:
    """Make a gate that is shut from the n-th time on that it is asked."""
    asked: list[int] = []

    def gate() -> None:
        asked.append(len(asked) + 1)
        if len(asked) >= time:
            raise GateShutError

    return gate, asked


async def _purchase(client: KrosClient, gate: Callable[[], None]) -> None:
    await client.purchase(ORDER, idempotency_key="a", before_sending=gate)


async def _update(client: KrosClient, gate: Callable[[], None]) -> None:
    await client.update_number("pn_1", Routing(allow_inbound=True), idempotency_key="a", before_sending=gate)


@pytest.mark.parametrize("write", [_purchase, _update])
async def test_a_body_never_follows_its_head_once_the_gate_is_shut(
    write: Callable[[KrosClient, Callable[[], None]], object],
) -> None:
    async with tcp_server(keep_everything) as server, open_client(base_url=server.url, api_key=KEY) as client:
        gate, asked = shut_at(3)  # before the connection, before the head, before the body
        with pytest.raises(GateShutError):
            await write(client, gate)  # type: ignore[misc]
    assert len(asked) == 3
    for received in server.received:
        head, separator, body = received.partition(b"\r\n\r\n")
        assert (head.split(b" ")[0] in {b"POST", b"PATCH"}, separator, body) == (True, b"\r\n\r\n", b"")


async def test_a_request_without_a_body_does_not_leave_once_the_gate_is_shut() -> None:
    async with tcp_server(keep_everything) as server, open_client(base_url=server.url, api_key=KEY) as client:
        gate, asked = shut_at(2)  # before the connection, before the head
        with pytest.raises(GateShutError):
            await client.release_number("pn_1", permanent=False, idempotency_key="a", before_sending=gate)
    assert (len(asked), [received for received in server.received if received]) == (2, [])


async def test_a_request_without_a_body_has_left_whole_with_its_head() -> None:
    async def hang_up(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        server.received.append(await reader.readuntil(b"\r\n\r\n"))

    async with tcp_server(hang_up) as server, open_client(base_url=server.url, api_key=KEY) as client:
        gate, asked = shut_at(3)
        with pytest.raises(OutcomeUnknownError):
            await client.release_number("pn_1", permanent=False, idempotency_key="a", before_sending=gate)
    assert (len(asked), len(server.received)) == (2, 1)
