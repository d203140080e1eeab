import asyncio
import gc
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio.lowlevel
import pytest
import uvicorn.server

from kros_mcp import server
from kros_mcp.tools.registry import build_tools
from tests.support.canaries import SECRET

pytest_plugins = ["tests.support.postgres_server", "tests.support.no_browser"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a journal that nobody has opened yet, once for every backend."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries of reads follow each other at once."""

    async def no_wait(_seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("kros_mcp.krosai.retry.sleep", no_wait)


@pytest.fixture(scope="session", autouse=True)
def _servers_here_end_at_once() -> Iterator[None]:
    """Let a uvicorn in this process look every hundredth of a second whether it is to end, not every tenth."""
    names: dict[str, Any] = {**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(seconds / 10)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", SimpleNamespace(**names))
        yield


@pytest.fixture(scope="session", autouse=True)
def _tools_are_built_once() -> Iterator[None]:
    """Give every server in this process the same tools: making their schemas takes a tenth of a second."""
    tools = build_tools()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "build_tools", lambda: list(tools))
        yield


def pytest_collection_finish() -> None:
    """Tell the garbage collector that what is loaded now stays, as the service does."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail any test that leaves a secret in its output, its logs or its files."""
    report = yield
    leaks = [title for title, text in report.sections if SECRET.search(text)]
    if call.when == "call":
        leaks += [str(path) for path in files_of(item) if SECRET.search(path.read_bytes().decode(errors="replace"))]
    if leaks and not report.failed:
        report.outcome = "failed"
        report.longrepr = f"A secret stands in: {', '.join(leaks)}."
    return report


def files_of(item: pytest.Item) -> list[Path]:
    """The files that a test has written: its journals, with their logs beside them."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    return [path for path in folder.rglob("*") if path.is_file()] if isinstance(folder, Path) else []
