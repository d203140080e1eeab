from collections.abc import AsyncIterator

import pytest

from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations import channels, runner
from kros_mcp.operations.acts import routing
from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.environment import forget_settings
from tests.support.talk import ERAS


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)


@pytest.fixture(autouse=True)
def _a_late_change_is_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "SHOWN_LATER_SECONDS", (0.0,) * len(routing.SHOWN_LATER_SECONDS))


@pytest.fixture(autouse=True)
def _the_attendant_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ATTEND_EVERY_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def _people_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a prompt that a test turns down at once for one that a person turned down."""
    monkeypatch.setattr(channels, "READING_SECONDS", 0.0)


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """The two protocol eras: 2025-11-25, and the newest."""
    return str(request.param)


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    """KrosAI as either of its two documents has it."""
    return Simulator(request.param)


@pytest.fixture
def reference() -> Simulator:
    return Simulator("reference")


@pytest.fixture
def guide() -> Simulator:
    return Simulator("guide")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(clock: Clock) -> AsyncIterator[Journal]:
    """A journal in memory whose time the test moves on, for several servers if need be."""
    async with open_sqlite("sqlite://:memory:", clock=clock) as opened:
        yield opened
