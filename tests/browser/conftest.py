import pytest

from kros_mcp.operations import runner
from tests.support.environment import forget_settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)


@pytest.fixture(autouse=True)
def _the_attendant_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ATTEND_EVERY_SECONDS", 0.05)
