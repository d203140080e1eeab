"""No test opens a browser that does not mean to: whatever tries, in this process or another, fails the run."""

import os
import stat
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest

_BROWSER = "BROWSER"


def loud_browser() -> dict[str, str]:
    """Return the variable by which a program that a test starts is given no browser, but one that tells of it."""
    return {_BROWSER: os.environ[_BROWSER]} if _BROWSER in os.environ else {}


class BrowserOpenedError(BaseException):
    """A test has opened a browser; no `except Exception` may hide it."""


def _refuse(url: str, *_: object, **__: object) -> bool:
    raise BrowserOpenedError(url)


@pytest.fixture(scope="session", autouse=True)
def _no_browser_is_opened() -> Iterator[None]:
    """Refuse `webbrowser.open` here; programs that tests start get a browser that leaves a mark."""
    with tempfile.TemporaryDirectory(prefix="kros-mcp-browser-") as folder, pytest.MonkeyPatch.context() as patch:
        mark, program = Path(folder) / "opened", Path(folder) / "browser"
        program.write_text(f"#!/bin/sh\necho opened >> '{mark}'\nexit 1\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        patch.setenv(_BROWSER, str(program))
        patch.setattr(webbrowser, "open", _refuse)
        yield
        assert not mark.exists(), "a program that a test has started opened a browser"
