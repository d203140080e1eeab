import os

import pytest

from kros_mcp.operations import runner


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("KROS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _the_attendant_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ATTEND_EVERY_SECONDS", 0.05)
