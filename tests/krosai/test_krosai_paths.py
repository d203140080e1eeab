"""Certificates and proxies on the way to KrosAI, each real: what gets through, what is told, and what left."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from krosai_doubles import KEY, ORDER, TcpServer, described, read_request
from path_doubles import HOST, Authority, connect_tunnels, open_proxy, socks_tunnels, tls_server

from kros_mcp.errors import KrosError, NotSentError, OutcomeUnknownError, PathError, SettingsError
from kros_mcp.krosai import KrosClient, open_client

pytestmark = pytest.mark.anyio

BASE = f"https://{HOST}/v1"
LOGIN = "ada:correct-horse@"
WAYS = {
    "http": (connect_tunnels, "http"),
    "socks5": (socks_tunnels, "socks5"),
    "socks5h": (socks_tunnels, "socks5h"),
    "socks": (socks_tunnels, "socks"),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return monkeypatch


async def buy(client: KrosClient) -> Any:
    return await client.purchase(ORDER, idempotency_key="a")


async def read(client: KrosClient) -> Any:
    return await client.get_number("pn_1")


BOTH = pytest.mark.parametrize("ask", [read, buy])


async def failing(ask: Callable[[KrosClient], Any], base_url: str = BASE) -> KrosError:
    async with open_client(base_url=base_url, api_key=KEY) as client:
        with pytest.raises(KrosError) as caught:
            await ask(client)
    assert "correct-horse" not in described(caught.value)
    return caught.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("login", ["", LOGIN])
async def test_reads_and_writes_go_through_the_proxy_that_the_environment_names(
    environment: pytest.MonkeyPatch, authority: Authority, way: str, login: str
) -> None:
    tunnels, scheme = WAYS[way]
    expected = login.rstrip("@").encode() if tunnels is socks_tunnels else b""
    async with tls_server(authority.server()) as krosai, open_proxy(krosai.port, tunnels, login=expected) as proxy:
        environment.setenv("ALL_PROXY", f"{scheme}://{login}127.0.0.1:{proxy.port}")
        async with open_client(base_url=BASE, api_key=KEY) as client:
            await read(client)
            await buy(client)
            await read(client)
    assert proxy.asked_for == [b"kros.test:443"] * 2  # reads share one tunnel, a write has its own
    assert [request.split()[0] for request in krosai.received] == [b"GET", b"POST", b"GET"]


async def test_a_proxy_that_is_reached_by_tls_is_trusted_by_the_same_authorities(
    environment: pytest.MonkeyPatch, authority: Authority
) -> None:
    own = authority.server("127.0.0.1")
    async with tls_server(authority.server()) as krosai, open_proxy(krosai.port, tls=own) as proxy:
        environment.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        async with open_client(base_url=BASE, api_key=KEY) as client:
            await read(client)
            await buy(client)
    assert len(krosai.received) == 2


@BOTH
async def test_an_exempt_host_is_reached_directly_whatever_proxy_is_named(
    environment: pytest.MonkeyPatch, authority: Authority, ask: Callable[[KrosClient], Any]
) -> None:
    looked_up = socket.getaddrinfo

    def here(host: Any, *others: Any, **more: Any) -> Any:
        return looked_up("127.0.0.1" if host in {HOST, HOST.encode()} else host, *others, **more)

    environment.setattr(socket, "getaddrinfo", here)
    environment.setitem(sys.modules, "socksio", None)
    environment.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    environment.setenv("NO_PROXY", "fd00::/8,[::1],*.test")
    async with (
        tls_server(authority.server()) as krosai,
        open_client(base_url=f"https://{HOST}:{krosai.port}/v1", api_key=KEY) as client,
    ):
        await ask(client)
    assert len(krosai.received) == 1


@pytest.mark.parametrize("way", ["", *WAYS])
@BOTH
async def test_a_certificate_that_fails_is_named_with_its_fault_and_nothing_left(
    environment: pytest.MonkeyPatch, authority: Authority, tmp_path: Path, way: str, ask: Callable[[KrosClient], Any]
) -> None:
    stranger = Authority(tmp_path, "stranger")
    for context, fault, remedy in (
        (stranger.server(), "is not trusted here (unknown issuer)", "SSL_CERT_FILE"),
        (authority.server(days_left=-1), "has expired", "date"),
        (authority.server(days_left=9), "is not valid yet", "date"),
        (authority.server("elsewhere.test"), "is for another name than the one in KROS_BASE_URL", "KROS_BASE_URL"),
    ):
        tunnels, scheme = WAYS[way or "http"]
        async with tls_server(context) as krosai, open_proxy(krosai.port, tunnels) as proxy:
            if way:
                environment.setenv("https_proxy", f"{scheme}://127.0.0.1:{proxy.port}")
                failure = await failing(ask)
            else:
                failure = await failing(ask, f"https://localhost:{krosai.port}/v1")
        if not way and "another name" not in fault and "issuer" not in fault:
            continue  # the name is wrong as well there, and which fault is told first is OpenSSL's choice
        assert isinstance(failure, PathError)
        assert failure.code == "CERTIFICATE_REFUSED"
        assert failure.message.startswith(f"KrosAI's certificate {fault}")
        assert failure.message.endswith("; nothing was sent.")
        assert remedy in failure.next_step
        assert krosai.received == []


async def test_a_certificate_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    tried = 0
    context = Authority(tmp_path, "stranger").server("localhost")
    context.sni_callback = lambda *_: count()

    def count() -> None:
        nonlocal tried
        tried += 1

    async with tls_server(context) as krosai:
        await failing(read, f"https://localhost:{krosai.port}/v1")
    assert tried == 1


@BOTH
async def test_a_proxy_whose_own_certificate_fails_is_named(
    environment: pytest.MonkeyPatch, authority: Authority, tmp_path: Path, ask: Callable[[KrosClient], Any]
) -> None:
    strange = Authority(tmp_path, "stranger").server("127.0.0.1")
    async with tls_server(authority.server()) as krosai, open_proxy(krosai.port, tls=strange) as proxy:
        environment.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        failure = await failing(ask)
    assert isinstance(failure, PathError)
    assert "or of the proxy in HTTPS_PROXY, is not trusted here" in failure.message


@pytest.mark.parametrize(
    ("way", "login", "refuses", "told"),
    [
        ("http", "", b"407 Proxy Authentication Required", "The proxy in ALL_PROXY wants a login (407)"),
        ("http", LOGIN, b"407 Nein", "The proxy in ALL_PROXY does not accept the login that stands there (407)"),
        ("http", LOGIN, b"403 Forbidden", "The proxy in ALL_PROXY does not let requests through to KrosAI (403)"),
        ("http", "", b"302 Found", "The proxy in ALL_PROXY does not let requests through to KrosAI (302)"),
        ("socks5", "", b"\x02", "The proxy in ALL_PROXY does not let requests through to KrosAI"),
    ],
)
@BOTH
async def test_a_proxy_that_refuses_for_good_is_named_once_and_by_its_variable(
    environment: pytest.MonkeyPatch,
    way: str,
    login: str,
    refuses: bytes,
    told: str,
    ask: Callable[[KrosClient], Any],
) -> None:
    tunnels, scheme = WAYS[way]
    async with open_proxy(0, tunnels, refuses=refuses) as proxy:
        environment.setenv("ALL_PROXY", f"{scheme}://{login}127.0.0.1:{proxy.port}")
        failure = await failing(ask)
    assert isinstance(failure, PathError)
    assert (failure.code, failure.message) == ("PROXY_REFUSED", f"{told}; nothing was sent.")
    assert len(proxy.asked_for) == 1


@pytest.mark.parametrize(
    ("login", "does"), [("", "wants a login"), (LOGIN, "does not accept the login that stands there")]
)
@BOTH
async def test_a_socks_proxy_that_wants_another_login_says_so(
    environment: pytest.MonkeyPatch, login: str, does: str, ask: Callable[[KrosClient], Any]
) -> None:
    async with open_proxy(0, socks_tunnels, login=b"ada:another") as proxy:
        environment.setenv("ALL_PROXY", f"socks5://{login}127.0.0.1:{proxy.port}")
        failure = await failing(ask)
    assert isinstance(failure, PathError)
    assert failure.message == f"The proxy in ALL_PROXY {does}; nothing was sent."


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize(
    ("way", "refuses"), [("http", b"502 Bad Gateway"), ("http", b"429 Slow"), ("socks5", b"\x04"), ("socks5", b"\x01")]
)
@BOTH
async def test_a_proxy_that_fails_for_the_moment_is_named_and_a_read_is_tried_again(
    environment: pytest.MonkeyPatch, way: str, refuses: bytes, ask: Callable[[KrosClient], Any]
) -> None:
    tunnels, scheme = WAYS[way]
    async with open_proxy(0, tunnels, refuses=refuses) as proxy:
        environment.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        failure = await failing(ask)
    assert isinstance(failure, NotSentError)
    assert not isinstance(failure, PathError)
    assert failure.message == "KrosAI could not be reached through the proxy in HTTPS_PROXY; nothing was sent."
    assert len(proxy.asked_for) == (5 if ask is read else 1)


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("way", ["http", "socks5"])
@BOTH
async def test_a_proxy_that_is_not_there_is_named(
    environment: pytest.MonkeyPatch, way: str, ask: Callable[[KrosClient], Any]
) -> None:
    environment.setenv("HTTPS_PROXY", f"{way}://127.0.0.1:1")
    failure = await failing(ask)
    assert isinstance(failure, NotSentError)
    assert "the proxy in HTTPS_PROXY" in failure.message


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("says", ["nothing", "nonsense"])
@BOTH
async def test_a_socks_proxy_that_speaks_nonsense_or_hangs_up_sent_nothing(
    environment: pytest.MonkeyPatch, says: str, ask: Callable[[KrosClient], Any]
) -> None:
    async def hang_up(_: Any, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read(3)

    async with open_proxy(0, hang_up if says == "nothing" else socks_tunnels, refuses=b"nonsense") as proxy:
        environment.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        failure = await failing(ask)
    assert isinstance(failure, NotSentError)
    assert "the proxy in ALL_PROXY" in failure.message


@pytest.mark.parametrize("scheme", ["http", "socks5", "https"])
async def test_a_mute_proxy_sent_nothing_and_its_connection_is_closed(
    environment: pytest.MonkeyPatch, scheme: str
) -> None:
    environment.setattr("kros_mcp.krosai.client._LONGEST_WRITE_SECONDS", 0.05)
    gone = asyncio.Event()

    async def say_nothing(_: Any, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        gone.set()

    async with open_proxy(0, say_nothing) as proxy:
        environment.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        async with open_client(base_url=BASE, api_key=KEY) as client:
            with pytest.raises(NotSentError, match="the proxy in ALL_PROXY"):
                await buy(client)
        async with asyncio.timeout(5):
            await gone.wait()


@pytest.mark.parametrize("way", ["http", "socks5"])
async def test_a_write_that_left_through_a_proxy_and_is_not_answered_is_unknown(
    environment: pytest.MonkeyPatch, authority: Authority, way: str
) -> None:
    async def hang_up(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(server, reader)

    tunnels, scheme = WAYS[way]
    async with (
        tls_server(authority.server(), hang_up) as krosai,
        open_proxy(krosai.port, tunnels) as proxy,
    ):
        environment.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        failure = await failing(buy)
    assert isinstance(failure, OutcomeUnknownError)
    assert len(krosai.received) == 1


@pytest.mark.parametrize("way", ["http", "socks5"])
async def test_a_check_that_fails_once_the_tunnel_is_open_keeps_the_request_here(
    environment: pytest.MonkeyPatch, authority: Authority, way: str
) -> None:
    tunnels, scheme = WAYS[way]
    async with tls_server(authority.server()) as krosai, open_proxy(krosai.port, tunnels) as proxy:
        environment.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")

        def shut_once_asked_for() -> None:
            if proxy.asked_for:
                raise NotSentError("Held up.")

        async with open_client(base_url=BASE, api_key=KEY) as client:
            with pytest.raises(NotSentError, match="Held up"):
                await client.purchase(ORDER, idempotency_key="a", before_sending=shut_once_asked_for)
    assert (len(proxy.asked_for), krosai.received) == (1, [])


async def test_certificates_that_cannot_be_read_are_an_error_of_the_variable_that_names_them(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("")
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    failure = await failing(read)
    assert isinstance(failure, SettingsError)
    assert failure.message == "The certificate authorities in SSL_CERT_FILE cannot be read."
