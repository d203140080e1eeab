import anyio.lowlevel
import pytest


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries follow each other at once."""

    async def no_wait(_seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("kros_mcp.krosai.retry.sleep", no_wait)
