"""The way to an identity provider's keys, where the environment names proxies."""

import asyncio
import json
import logging

import pytest

from kros_mcp.http.oauth import IssuerKeys
from tests.support.issuer import EC_KEY, public_jwk

pytestmark = pytest.mark.anyio


async def test_proxies_that_are_not_for_the_issuer_do_not_stand_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"keys": [public_jwk(EC_KEY, kid="ec-1")]}).encode()

    async def publish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    monkeypatch.setenv("NO_PROXY", "[::1],fd00::/8,127.0.0.1")
    monkeypatch.setenv("ALL_PROXY", "socks4://proxy.test")
    async with await asyncio.start_server(publish, "127.0.0.1", 0) as server:
        keys = IssuerKeys(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks")
        assert await keys.key("ec-1", "ES256") is not None
    assert keys.trouble() is None


async def test_a_proxy_that_cannot_be_used_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "socks4://ada:correct-horse@proxy.test")
    caplog.set_level(logging.WARNING)

    keys = IssuerKeys("https://issuer.test/jwks")

    assert await keys.key("ec-1", "ES256") is None
    assert keys.trouble() is not None
    assert "The proxy in HTTPS_PROXY is of a kind that cannot be used." in caplog.text
    assert "correct-horse" not in caplog.text
