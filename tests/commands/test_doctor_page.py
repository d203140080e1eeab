"""The test page of `kros-mcp doctor`: only where a person sits, or asks for it."""

import pytest
from commands_doubles import Command

from kros_mcp.browser import trial_page
from tests.support.hand import as_browser

pytestmark = pytest.mark.usefixtures("pointed")


def said(command: Command, *words: str) -> str:
    ran = command("doctor", *words)
    assert ran.code == 0
    return " ".join(ran.out.split())


def test_it_is_not_opened_without_a_terminal_nor_where_no_page_asks(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_CONFIRMATION", "person")
    assert "kros-mcp doctor --browser tells: it opens one." in said(command)
    environment.setenv("KROS_CONFIRMATION", "conversation")
    assert "page that asks" not in said(command, "--browser")


def test_a_page_that_was_fetched_is_told(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_CONFIRMATION", "person")
    environment.setenv("BROWSER", as_browser())
    environment.setenv("HAND", "close")
    environment.setattr(trial_page, "FETCH_SECONDS", 20.0)
    environment.setattr(trial_page, "_STYLED_SECONDS", 0.0)

    assert "A test page opened in the browser" in said(command, "--browser")


@pytest.mark.parametrize(
    ("mode", "instead"),
    [
        ("auto", "so a client without prompts of its own gets a code in the chat."),
        ("person", "so without a prompt of the client nothing is bought or released."),
        ("browser", "so nothing is bought or released."),
    ],
)
def test_a_page_that_was_not_fetched_is_a_warning_that_says_what_follows(
    command: Command, environment: pytest.MonkeyPatch, mode: str, instead: str
) -> None:
    environment.setenv("KROS_CONFIRMATION", mode)
    environment.setenv("BROWSER", as_browser())
    environment.setenv("HAND", "ignore")
    environment.setattr(trial_page, "FETCH_SECONDS", 0.1)
    without = said(command, "--browser")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        environment.delenv(name, raising=False)
    no_display = said(command, "--browser")

    assert "No browser fetched a test page within 5 seconds" in without
    assert instead in without
    assert instead in no_display
    assert "DISPLAY, WAYLAND_DISPLAY and BROWSER are not set here" in no_display
