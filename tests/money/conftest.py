import logging
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import cast

import bench as benches
import pytest
from bench import MEMORY, Bench, open_bench, simulator

from kros_mcp.operations.acts import routing
from kros_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    return simulator(request.param)


@pytest.fixture(params=["sqlite", "postgres"])
def every_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every bench of a test keep its journal in each backend in turn."""
    url = MEMORY if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    monkeypatch.setattr(benches, "standard_journal_url", url)


@pytest.fixture(params=["sqlite", "postgres"])
def new_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Name a journal that nobody has opened yet, as often as it is called; the one before may be gone then."""
    if request.param == "sqlite":
        numbers = count(1)
        return lambda: f"sqlite:///{tmp_path}/journal-{next(numbers)}.sqlite3"
    return cast("Callable[[], str]", request.getfixturevalue("postgres_server").emptied)


@pytest.fixture
async def bench(sim: Simulator) -> AsyncIterator[Bench]:
    async with open_bench(sim) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _a_late_change_is_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SHOWN_LATER_SECONDS", (0.0,) * len(routing.SHOWN_LATER_SECONDS))


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let the search for secrets see what the most talkative operator would."""
    caplog.set_level(logging.DEBUG)
