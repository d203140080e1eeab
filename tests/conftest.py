from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.canaries import SECRET

pytest_plugins = ["tests.support.postgres_server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a journal that nobody has opened yet, once for every backend."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


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
