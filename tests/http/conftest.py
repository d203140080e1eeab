import pytest

from kros_mcp.operations import runner
from kros_mcp.simulator import Simulator
from tests.support.environment import forget_settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def _the_attendant_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ATTEND_EVERY_SECONDS", 0.05)


@pytest.fixture
def sim() -> Simulator:
    return Simulator("reference")


@pytest.fixture(params=("legacy", "auto"))
def era(request: pytest.FixtureRequest) -> str:
    """The two protocol eras: 2025-11-25, and the newest."""
    return str(request.param)
