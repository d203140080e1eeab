"""`kros-mcp doctor` on the way to KrosAI: which proxy, which certificate authorities, and what is wrong with them."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from commands_doubles import Command

from kros_mcp.simulator import Simulator

LOGIN = "ada:correct-horse@"


def flat(out: str) -> str:
    return " ".join(out.split())


@contextmanager
def a_proxy_that_answers(status: bytes) -> Iterator[int]:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving() -> Any:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    with start_blocking_portal() as portal:
        opened: AbstractContextManager[int] = portal.wrap_async_context_manager(serving())
        with opened as port:
            yield port


@pytest.mark.usefixtures("pointed")
def test_the_direct_way_and_the_authorities_are_told(command: Command) -> None:
    ran = command("doctor")

    assert ran.code == 0
    assert "ok    KrosAI is reached directly: no proxy is set for it." in ran.out
    assert "ok    Certificates are checked by the list that comes with httpx" in ran.out


@pytest.mark.usefixtures("pointed")
def test_a_host_that_is_exempt_is_said_to_be(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", f"http://{LOGIN}proxy.test:3128")

    ran = command("doctor")

    assert ran.code == 0
    assert "KrosAI is reached directly: its host is exempt from the proxy in http_proxy." in ran.out
    assert "correct-horse" not in ran.out + ran.err


def test_a_proxy_is_told_with_its_variable_and_place_and_without_its_login(
    command: Command, pointed: Simulator, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_BASE_URL", "https://kros.test/v1")
    with a_proxy_that_answers(b"407 Nein") as port:
        environment.setenv("HTTPS_PROXY", f"http://{LOGIN}127.0.0.1:{port}")
        ran = command("doctor")

    assert ran.code == 4
    assert f"ok    KrosAI is reached through the proxy in HTTPS_PROXY: 127.0.0.1:{port}." in ran.out
    told = "FAIL  The proxy in HTTPS_PROXY does not accept the login that stands there (407); nothing was sent."
    assert ran.out.count(told) == 1
    assert "correct-horse" not in ran.out + ran.err
    assert pointed.requests == []


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks4://proxy.test", "The proxy in ALL_PROXY is of a kind that cannot be used."),
        (
            "socks5://proxy.test",
            "The proxy in ALL_PROXY speaks SOCKS, for which the extra kros-mcp[socks] is not installed.",
        ),
    ],
)
@pytest.mark.usefixtures("pointed")
def test_a_proxy_that_cannot_be_used_fails_once_and_krosai_is_not_asked(
    command: Command, environment: pytest.MonkeyPatch, proxy: str, told: str
) -> None:
    environment.setitem(sys.modules, "socksio", None)
    environment.setenv("KROS_BASE_URL", "https://kros.test/v1")
    environment.setenv("ALL_PROXY", proxy)

    ran = command("doctor")

    assert ran.code == 2
    assert [line for line in ran.out.splitlines() if line.startswith("FAIL")] == [f"FAIL  {told}"]
    assert "KrosAI was not asked" in ran.out


@pytest.mark.usefixtures("pointed")
def test_authorities_that_cannot_be_read_fail_and_those_that_cannot_be_found_are_warned_of(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "company.pem").write_text("no certificate")
    environment.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
    environment.setenv("SSL_CERT_DIR", str(tmp_path))
    unreadable = command("doctor")
    assert unreadable.code == 2
    assert "FAIL  The certificate authorities in SSL_CERT_FILE cannot be read." in unreadable.out

    environment.delenv("SSL_CERT_FILE")
    unfound = command("doctor")
    assert unfound.code == 0
    told = f"Certificates are checked by the authorities in SSL_CERT_DIR alone: {tmp_path}."
    assert f"warn {told}" in flat(unfound.out)
    assert "openssl rehash" in unfound.out

    (tmp_path / "0123abcd.0").write_text("")
    assert f"ok {told}" in flat(command("doctor").out)
