import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands_doubles import Command, run_elsewhere

from kros_mcp import __version__
from kros_mcp.commands.group import SUMMARIES

COMMANDS = (
    "install",
    "bundle",
    "http",
    "token",
    "demo",
    "simulator",
    "doctor",
    "probe",
    "rehearse",
    "sip",
    "operations",
    "export",
    "reconcile",
    "approve",
    "deny",
    "notify",
    "settle",
    "adopt",
    "backup",
    "restore",
    "prune",
)


def test_the_version_is_the_packages(command: Command) -> None:
    ran = command("--version")

    assert (ran.code, ran.out) == (0, f"kros-mcp {__version__}\n")


def test_help_names_every_command_and_exit_code(command: Command) -> None:
    ran = command("--help")

    assert ran.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ran.out
    for meaning in ("0 done", "2 usage or settings", "3 journal unusable", "4 KrosAI unreachable"):
        assert meaning in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(command: Command, name: str) -> None:
    ran = command(name, "--help")

    assert ran.code == 0
    assert f"Usage: kros-mcp {name}" in ran.out


@pytest.mark.parametrize(
    "words",
    [
        ("purchase",),
        ("--simulate",),
        ("--simul",),
        ("doctor", "--fix"),
        ("sip",),
        ("approve",),
        ("settle", "op_1", "done"),
        ("adopt",),
        ("settle", "op_1", "maybe", "--reason=x"),
        ("operations", "--limit", "many"),
        ("export", "--by", "settled"),
        ("reconcile", "--fix"),
        ("demo", "--profile", "sandbox"),
        ("install",),
        ("install", "another-client"),
        ("install", "claude-desktop", "--print", "--undo"),
        ("bundle", "--simulator"),
    ],
)
def test_what_is_not_a_command_is_a_usage_error(command: Command, words: tuple[str, ...]) -> None:
    ran = command(*words)

    assert ran.code == 2
    assert "Usage: kros-mcp" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("operations", "--principal", b"\xff"),
        ("export", "--principal", b"\xff"),
        ("export", "--output", b"/nowhere/may\xff.csv"),
        ("approve", b"op_\xff", "--yes", "--reason", "x"),
        ("deny", "op_1", "--yes", "--reason", b"no\xff\x1b[31m"),
        ("settle", b"op_\xff", "done", "--reason", "x"),
        ("sip", b"\xff"),
        (b"\xff",),
    ],
)
def test_what_is_no_text_is_a_usage_error(command: Command, words: tuple[str | bytes, ...]) -> None:
    ran = command(*map(os.fsdecode, words))

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("Error: an argument is not valid text in UTF-8\n")


def test_text_beyond_ascii_is_taken(command: Command) -> None:
    assert "asked for by 夜間 📞" in command("operations", "--principal", "夜間 📞").out


def test_no_line_of_the_driver_stands_beside_our_sentence() -> None:
    program = (
        "import logging, click; from kros_mcp import cli; from kros_mcp.commands import operations\n"
        "@click.command\n"
        "def run():\n"
        "    for name in ('psycopg', 'psycopg.pool', 'kros_mcp'): logging.getLogger(name).warning('raw %s', name)\n"
        "operations.operations = run; cli.main(['operations'])"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (ran.stdout, ran.stderr) == ("", "raw kros_mcp\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"KROS_API_KEY": "a key"}, "KROS_API_KEY"),
        ({"KROS_API_KEY": "kros_test_x", "KROS_DAILY_BUDGET": "100"}, "KROS_DAILY_BUDGET_CENTS"),
        ({"KROS_API_KEY": "kros_test_x", "KROS_JOURNAL_URL": "postgresql://host/db"}, "KROS_PRINCIPAL"),
    ],
)
async def test_the_server_does_not_start_with_wrong_settings(settings: dict[str, str], named: str) -> None:
    code, printed = await run_elsewhere(**settings)

    assert code == 2
    assert named in printed
    assert len(printed.strip().splitlines()) == 1


@pytest.mark.anyio
async def test_a_journal_that_cannot_be_opened_stops_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, printed = await run_elsewhere(
        KROS_API_KEY="kros_test_x", KROS_JOURNAL_URL=f"sqlite:///{tmp_path}/file/journal.sqlite3"
    )

    assert code == 3
    assert "Traceback" not in printed


def loaded_after(program: str) -> set[str]:
    """Which of the heavy packages stand in memory once a program has run."""
    names = "{'mcp', 'httpx', 'pydantic', 'rich', 'click'} & sys.modules.keys()"
    program = f"import sys, atexit; atexit.register(lambda: print(*({names}), file=sys.stderr)); {program}"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return set(ran.stderr.splitlines()[-1].split())


def test_help_loads_click_and_no_command() -> None:
    assert loaded_after("from kros_mcp.cli import main; main(['--help'])") == {"click"}


@pytest.mark.parametrize("words", [[], ["--simulator"]])
def test_the_server_alone_goes_past_click_and_rich(words: list[str]) -> None:
    """What is loaded until it runs; the SDK itself imports click."""
    served = "stdio_server.run = lambda *, simulator: 0; stdio_server.leave = sys.exit"

    loaded = loaded_after(
        f"from kros_mcp.commands import stdio_server; {served}; import kros_mcp.cli as c; c.main({words})"
    )

    assert loaded == set()


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal_of_80_columns_and_begins_as_the_list_of_commands_says(
    command: Command, environment: pytest.MonkeyPatch, name: str
) -> None:
    environment.setenv("COLUMNS", "200")
    wide = command(*filter(None, [name]), "--help").out
    environment.setenv("COLUMNS", "80")
    out = command(*filter(None, [name]), "--help").out

    assert max(map(len, out.splitlines())) <= 80
    assert max(map(len, wide.splitlines())) <= 80
    if name:
        summary = SUMMARIES[name]
        assert f"{summary[0].upper()}{summary[1:]}." in " ".join(out.split())


def test_a_port_that_there_is_not_is_a_usage_error(command: Command) -> None:
    ran = command("http", "--simulator", "--no-auth", "--port", "99999")

    assert ran.code == 2
    assert "65535" in ran.err


def test_the_service_does_not_start_without_its_extra(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kros_mcp.commands.http_extra._PACKAGES", ("tomlkit", "not_installed_anywhere"))

    ran = command("http", "--simulator", "--no-auth", "--port", "0")

    assert ran.code == 2
    assert "not_installed_anywhere" in ran.err
    assert "kros-mcp[http]" in ran.err
    assert ".[all]" in ran.err


def test_the_service_does_not_start_where_only_a_browser_page_would_do(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KROS_CONFIRMATION", "browser")

    ran = command("http", "--simulator", "--no-auth", "--port", "0")

    assert ran.code == 2
    assert "KROS_CONFIRMATION=browser asks on a page in the browser of whoever starts the server" in ran.err


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
async def test_a_character_that_the_terminal_lacks_is_escaped_and_ends_no_command(
    encoding: str, tmp_path: Path
) -> None:
    code, told = await run_elsewhere(
        "doctor",
        KROS_PRINCIPAL="desk-日",
        KROS_JOURNAL_URL=f"sqlite:///{tmp_path}/journal.sqlite3",
        PYTHONIOENCODING=encoding,
    )

    assert (code, "Traceback" in told) == (2, False)  # 2 for want of a key
    assert r"KROS_PRINCIPAL is desk-\u65e5." in told
