"""A server whose certificates or proxy cannot be used."""

from pathlib import Path

import pytest

from kros_mcp.simulator import Simulator
from tests.support.talk import open_stdio_talk

pytestmark = pytest.mark.anyio


async def test_a_server_without_certificates_goes_on_and_says_what_is_wrong(
    reference: Simulator, tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.pem")
    address = "https://127.0.0.1:9/v1"
    async with open_stdio_talk(reference, address, "auto", SSL_CERT_FILE=missing) as talk:
        for _ in range(2):
            failure = await talk.call("list_phone_numbers")
            assert (failure.failed, failure.outcome) == (True, "SETTINGS")
            assert "SSL_CERT_FILE" in failure["message"]
    assert reference.requests == []


async def test_a_server_whose_proxy_cannot_be_used_names_its_variable_and_goes_on(reference: Simulator) -> None:
    proxy = "socks4://ada:correct-horse@proxy.test"
    async with open_stdio_talk(reference, "https://kros.test/v1", "auto", ALL_PROXY=proxy, NO_PROXY="[::1]") as talk:
        failure = await talk.call("list_phone_numbers")
        assert (failure.failed, failure.outcome) == (True, "SETTINGS")
        assert failure["message"] == "The proxy in ALL_PROXY is of a kind that cannot be used."
        assert "KROS_BASE_URL" not in failure.text
        assert "correct-horse" not in failure.text
    assert reference.requests == []
