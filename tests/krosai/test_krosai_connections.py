import asyncio
import socket

import anyio
import httpx
import pytest
from krosai_doubles import KEY, ORDER, OWNED, StoppedError, TcpServer, keep_alive_answers, read_request, tcp_server

from kros_mcp.errors import NotSentError, OutcomeUnknownError, SettingsError
from kros_mcp.krosai import KrosClient, open_client
from kros_mcp.krosai.connections import Connections, headers

pytestmark = pytest.mark.anyio


async def test_a_check_that_fails_after_connecting_keeps_the_bytes_here() -> None:
    asked = 0

    def shut_the_second_time() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise StoppedError

    gone = asyncio.Event()

    async def watch(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        server.received.append(await reader.read())
        gone.set()

    async with tcp_server(watch) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with pytest.raises(StoppedError):
            await client.purchase(ORDER, idempotency_key="a", before_sending=shut_the_second_time)
        await gone.wait()
    assert server.received == [b""]


async def test_a_refused_connection_sent_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_client(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            with pytest.raises(NotSentError):
                await client.purchase(ORDER, idempotency_key="a")


async def test_a_server_that_reads_and_hangs_up_leaves_the_outcome_unknown() -> None:
    async def hang_up(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(server, reader)

    async with tcp_server(hang_up) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.purchase(ORDER, idempotency_key="a")
    assert len(server.received) == 1


async def test_a_server_that_hangs_up_unread_leaves_the_outcome_unknown() -> None:
    async def hang_up(_: TcpServer, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
        pass

    async with tcp_server(hang_up) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.purchase(ORDER, idempotency_key="a")


async def test_a_tls_handshake_that_fails_sent_nothing() -> None:
    async def speak_plainly(_: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with tcp_server(speak_plainly) as server:
        url = server.url.replace("http:", "https:")
        async with open_client(base_url=url, api_key=KEY) as client:
            with pytest.raises(NotSentError):
                await client.purchase(ORDER, idempotency_key="a")


async def test_a_proxy_that_refuses_the_tunnel_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def refuse(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(server, reader)
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    async def vanish(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(server, reader)

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for behaviour in (refuse, vanish):
        async with tcp_server(behaviour) as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
            async with open_client(base_url="https://kros.test/v1", api_key=KEY) as client:
                with pytest.raises(NotSentError):
                    await client.purchase(ORDER, idempotency_key="a", before_sending=lambda: asked.append("check"))
        assert server.received[0].startswith(b"CONNECT ")
        assert KEY.encode() not in server.received[0]
    assert asked == ["check", "check"]


async def test_each_write_takes_a_fresh_connection_and_reads_share_one() -> None:
    connections = 0

    async def count(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await keep_alive_answers(server, reader, writer)

    async with tcp_server(count) as server, open_client(base_url=server.url, api_key=KEY) as client:
        await client.get_number("pn_1")
        await client.get_number("pn_1")
        assert connections == 1
        await client.purchase(ORDER, idempotency_key="a")
        await client.purchase(ORDER, idempotency_key="b")
        assert connections == 3


async def test_reads_at_once_take_a_connection_each_and_later_ones_take_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kros_mcp.krosai.connections._MOST_SPARE", 2)
    opened, every = 0, anyio.Event()

    async def meet(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        if opened == 3:
            every.set()
        await every.wait()  # nobody is answered before three connections stand
        await keep_alive_answers(server, reader, writer)

    async def read_three(client: KrosClient) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(client.get_number, "pn_1")

    async with tcp_server(meet) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with anyio.fail_after(5):
            await read_three(client)
            await client.get_number("pn_1")
            assert opened == 3
            await read_three(client)
        assert opened == 4  # two of three were kept


async def test_connections_that_nobody_uses_any_more_are_closed_when_a_later_read_ends() -> None:
    now, burst = 0.0, 8
    still_open, all_open, one_left = 0, anyio.Event(), anyio.Event()

    async def count(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal still_open
        still_open += 1
        if still_open == burst:
            all_open.set()
        await all_open.wait()
        await keep_alive_answers(server, reader, writer)  # until the client closes the connection
        still_open -= 1
        if still_open == 1:
            one_left.set()

    async with tcp_server(count) as server:
        connections = Connections(server.url, headers(KEY, "bearer", None), None, lambda: now)
        client = KrosClient(connections)
        try:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    for _ in range(burst):
                        tasks.start_soon(client.get_number, "pn_1")
                now = 50.0
                await client.get_number("pn_1")
                assert still_open == burst  # all may be of use yet
                now = 56.0
                await client.get_number("pn_1")
                await one_left.wait()
                await client.get_number("pn_1")
            assert len(server.received) == burst + 3
            assert still_open == 1  # the one in use is kept, and no other was opened
        finally:
            await connections.aclose()


async def test_a_connection_that_cannot_be_closed_fails_no_read() -> None:
    class Clinging(httpx.MockTransport):
        async def aclose(self) -> None:
            nonlocal clung
            clung += 1
            raise OSError

    now, clung, waiting, both = 0.0, 0, 0, anyio.Event()

    async def meet(_: httpx.Request) -> httpx.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        return httpx.Response(200, json=OWNED)

    client = KrosClient(Connections("https://kros.test/v1", headers(KEY, "bearer", None), Clinging(meet), lambda: now))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get_number, "pn_1")
            tasks.start_soon(client.get_number, "pn_1")
        now = 100.0
        assert (await client.get_number("pn_1")).id == "pn_1"
    assert clung == 1


async def test_cancelling_a_write_passes_through_untouched() -> None:
    arrived = asyncio.Event()

    async def never_answer(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(server, reader)
        arrived.set()
        await reader.read()
        writer.close()

    async with tcp_server(never_answer) as server, open_client(base_url=server.url, api_key=KEY) as client:
        task = asyncio.create_task(client.purchase(ORDER, idempotency_key="a"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_write_without_an_answer_ends_after_its_time_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kros_mcp.krosai.client._LONGEST_WRITE_SECONDS", 0.05)

    async def never_answer(server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(server, reader)
        await reader.read()
        writer.close()

    async with tcp_server(never_answer) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with anyio.fail_after(5), pytest.raises(OutcomeUnknownError):
            await client.purchase(ORDER, idempotency_key="a")


async def test_certificates_that_do_not_exist_are_an_error_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    async with open_client(base_url="https://api.krosai.com/v1", api_key="kros_test_x") as client:
        with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
            client.warm_up()
