import re
from collections.abc import Generator
from typing import Any

import pytest

# Every secret that a test makes up ends in one of these, so that it can be told from a talk of canaries.
CANARY = re.compile(r"canary[0-9a-f]{12}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail any test whose output, errors or logs hold a secret."""
    del item, call
    report = yield
    leaks: list[Any] = [title for title, text in report.sections if CANARY.search(text)]
    if leaks and not report.failed:
        report.outcome = "failed"
        report.longrepr = f"A secret stands in: {', '.join(leaks)}."
    return report
