"""`kros-mcp install claude-desktop`: which settings go in, where they come from, and that no secret is shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands_doubles import Command
from install_bench import INSTALL, KEY, backups, servers

from kros_mcp.commands.install_entry import settings_to_keep
from kros_mcp.settings import load_settings


def test_print_writes_nothing_and_shows_no_key_but_what_the_settings_know_as_a_placeholder(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    ran = command(*INSTALL, "--print")

    assert ran.code == 0
    assert KEY not in ran.out + ran.err
    assert str(desktop_config) in ran.err
    assert not desktop_config.parent.exists()
    shown = json.loads(ran.out)["mcpServers"]["kros"]
    environment.setenv("KROS_API_KEY", shown["env"]["KROS_API_KEY"])
    assert "in place of any placeholder" in " ".join(command("doctor").out.split())


def test_print_needs_no_key(command: Command, desktop_config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    ran = command(*INSTALL, "--print")

    assert (ran.code, desktop_config.parent.exists()) == (0, False)
    assert "KROS_API_KEY" in json.loads(ran.out)["mcpServers"]["kros"]["env"]


def test_the_password_of_a_journal_is_never_shown(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    url = "postgresql://kros:correct-horse@db.example.com/kros"
    environment.setenv("KROS_JOURNAL_URL", url)
    environment.setenv("KROS_PRINCIPAL", "support-agent")

    for words in ((*INSTALL, "--print"), INSTALL):
        ran = command(*words)
        assert ran.code == 0
        assert "correct-horse" not in ran.out + ran.err
    assert servers(desktop_config)["kros"]["env"]["KROS_JOURNAL_URL"] == url


def test_where_people_are_told_is_handed_over_and_never_shown(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    told = {
        "KROS_WEBHOOK_URL": "https://hooks.example.com/canary0123456789ab",
        "KROS_WEBHOOK_SECRET": "whsec_cafe0123cafe0123cafe0123cafe0123",
        "KROS_NOTIFY_URLS": "ntfy://canary0123456789ab",
    }
    for name, value in told.items():
        environment.setenv(name, value)

    for words in ((*INSTALL, "--print"), INSTALL):
        ran = command(*words)
        assert ran.code == 0
        assert not [value for value in told.values() if value in ran.out + ran.err]
    written = servers(desktop_config)["kros"]["env"]
    assert {name: written[name] for name in told} == told
    desktop_config.unlink()


def test_the_key_stands_in_the_file_and_nowhere_else(command: Command, there: Path) -> None:
    for words in ((), (), ("--undo",)):
        ran = command(*INSTALL, *words)
        assert KEY not in ran.out + ran.err
        assert [KEY in path.read_text() for path in backups(there)] in ([False], [])


def test_no_key_in_the_words_of_an_older_entry_is_shown_and_what_they_set_is_named(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    old = "kros_live_of_an_older_entry"
    words = ["env", f"KROS_API_KEY={old}", "KROS_DAILY_BUDGET_CENTS=700", "kros-mcp", old]
    desktop_config.parent.mkdir(parents=True)
    desktop_config.write_text(json.dumps({"mcpServers": {"kros": {"command": "wsl.exe", "args": words}}}))

    refused = command(*INSTALL)
    assert refused.code == 1
    assert "sets KROS_DAILY_BUDGET_CENTS, which" in refused.err

    environment.setenv("KROS_DAILY_BUDGET_CENTS", "700")
    ran = command(*INSTALL)
    assert ran.code == 0
    assert "wsl.exe env KROS_API_KEY=... KROS_DAILY_BUDGET_CENTS=... kros-mcp ..." in ran.out
    assert old not in refused.out + refused.err + ran.out + ran.err


def test_every_setting_of_the_terminal_that_the_server_reads_goes_in_and_is_named(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.chdir(tmp_path)
    environment.setenv("KROS_JOURNAL_URL", "sqlite:///books/journal.sqlite3")
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "700")
    environment.setenv("KROS_CURRENCY", "")
    environment.setenv("KROS_READ_ONLY", "${user_config.read_only}")
    environment.setenv("KROS_TOKENS_FILE", "tokens.toml")

    ran = command(*INSTALL)

    assert servers(desktop_config)["kros"]["env"] == {
        "KROS_API_KEY": KEY,
        "KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/books/journal.sqlite3",
        "KROS_DAILY_BUDGET_CENTS": "700",
        "KROS_ANSWER_WITHIN_SECONDS": "45",
    }
    assert "KROS_API_KEY is a test key" in ran.out
    assert "KROS_DAILY_BUDGET_CENTS=700" in ran.out
    assert "Left out, since it does not read them: KROS_TOKENS_FILE." in ran.out


@pytest.mark.parametrize("display", [{}, {"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_a_display_is_handed_on_with_what_a_browser_needs_beside_it_and_a_chosen_time_stays(
    display: dict[str, str],
) -> None:
    beside = {"XDG_RUNTIME_DIR": "/run/user/1", "XAUTHORITY": "/run/user/1/gdm/Xauthority", "BROWSER": "firefox"}
    given = {**display, **beside, "KROS_ANSWER_WITHIN_SECONDS": "9", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}
    for simulator in (False, True):
        kept = settings_to_keep(given, simulator=simulator)
        assert kept == {"KROS_ANSWER_WITHIN_SECONDS": "9", **display, **(beside if display else {})}


@pytest.mark.parametrize(
    ("way", "display", "warns", "asks"),
    [
        ("auto", "", True, "It asks you before it buys or releases: in the chat, by a code"),
        ("auto", ":0", False, "releases: on a page in your browser; where that cannot be, in the chat, by a code"),
        ("person", ":0", False, "on a page in your browser; where that cannot be, nothing is bought or released."),
        ("person", "", True, "It buys and releases nothing"),
        ("prompt", ":0", False, "It buys and releases nothing"),
        ("conversation", "", False, "It asks you before it buys or releases: in the chat, by a code"),
        ("approver", "", False, "an approver says yes: kros-mcp approve ID."),
    ],
)
def test_a_terminal_is_told_how_a_yes_is_asked_for_and_whether_a_page_will_open(
    command: Command,
    desktop_config: Path,
    environment: pytest.MonkeyPatch,
    way: str,
    display: str,
    warns: bool,
    asks: str,
) -> None:
    environment.setattr(sys, "platform", "linux")
    environment.delenv("WAYLAND_DISPLAY", raising=False)
    environment.setenv("DISPLAY", display)
    environment.setenv("KROS_CONFIRMATION", way)

    ran = command(*INSTALL)

    assert ("no display to write down, without which no page that asks opens" in ran.out) is warns
    assert asks in ran.out
    assert servers(desktop_config)["kros"]["env"].get("DISPLAY", "") == display


def test_the_journal_is_the_terminals_own_where_its_environment_moves_it(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("KROS_JOURNAL_URL")
    environment.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert load_settings().journal_url is None

    command(*INSTALL)

    assert servers(desktop_config)["kros"]["env"]["KROS_JOURNAL_URL"].startswith("sqlite:////")


def test_the_simulator_is_given_nothing_of_the_account_that_it_stands_for(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("KROS_BASE_URL", "https://krosai.example.com/v1")
    environment.setenv("KROS_ORGANIZATION_ID", "org_1")
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "700")
    environment.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    command(*INSTALL, "--simulator")

    assert servers(desktop_config)["kros"]["env"] == {
        "KROS_ANSWER_WITHIN_SECONDS": "45",
        "KROS_MAX_PURCHASE_CENTS": "700",
    }


@pytest.mark.parametrize(
    ("name", "value"), [("KROS_MAX_PURCHASE_CENT", "1"), ("KROS_MAX_PURCHASE_CENTS", "50.00"), ("KROS_API_KEY", "a b")]
)
def test_settings_that_would_stop_the_server_are_refused_before_anything_is_written(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    ran = command(*INSTALL)

    assert ran.code == 2
    assert name in ran.err
    assert not desktop_config.parent.exists()


def test_without_a_key_and_a_terminal_it_ends_with_two(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("KROS_API_KEY")

    assert command(*INSTALL).code == 2
    assert not desktop_config.parent.exists()


def test_a_key_that_is_typed_is_not_shown(desktop_config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    code, shown = at_a_terminal(KEY, *INSTALL)

    assert code == 0
    assert KEY not in shown
    assert servers(desktop_config)["kros"]["env"]["KROS_API_KEY"] == KEY


def test_nothing_is_written_when_the_person_goes_away(desktop_config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    code, shown = at_a_terminal("\x04", *INSTALL)

    assert code == 1
    assert "nothing was written" in shown
    assert not desktop_config.parent.exists()


def at_a_terminal(typed: str, *words: str) -> tuple[int, str]:
    """Run a command with a terminal, and type a line once it asks for a key."""
    outside, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kros_mcp", *words], stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    )
    os.close(inside)
    shown = b""
    try:
        while b"API key" not in shown:
            shown += os.read(outside, 4096)
        os.write(outside, typed.encode() + b"\n")
        while part := os.read(outside, 4096):
            shown += part
    except OSError:  # so Linux says that the other end is closed
        pass
    finally:
        os.close(outside)
    return process.wait(), shown.decode()
