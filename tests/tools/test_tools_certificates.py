"""A server whose certificates cannot be read."""

from pathlib import Path

import pytest
from talk import open_stdio_talk

from kros_mcp.simulator import Simulator

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
