"""`kros-mcp install claude-desktop`: what it writes, what it leaves alone, and that it can be undone."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from commands_doubles import Command
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from kros_mcp.commands.desktop.places import config_path
from kros_mcp.settings import load_settings
from kros_mcp.simulator import Simulator, open_server

INSTALL = ("install", "claude-desktop")
KEY = "kros_test_of_the_desktop"
OTHERS = """\
{
    "globalShortcut": "Alt+Space",
    "mcpServers": {
        "zeitgeist": {"command": "/opt/zeitgeist", "args": ["--größe", "1"], "env": {"Z": "1"}, "later": [1.5, null]},
        "files": {"command": "npx"}
    },
    "preferences": {"menuBarEnabled": true}
}"""
READMES = {"command": "/usr/local/bin/uv", "args": ["run", "--no-dev", "--directory", "/src/kros-mcp", "kros-mcp"]}


@pytest.fixture
def config(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    """Claude Desktop's configuration file of somebody whose home is here; it is not there yet."""
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    environment.setenv("KROS_API_KEY", KEY)
    return config_path(sys.platform, tmp_path, os.environ)


@pytest.fixture
def there(config: Path) -> Path:
    """The file with other servers and settings in it."""
    config.parent.mkdir(parents=True)
    config.write_text(OTHERS, encoding="utf-8")
    return config


def servers(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))["mcpServers"]
    return found


def backups(config: Path) -> list[Path]:
    return [path for path in config.parent.iterdir() if path != config]


@pytest.mark.anyio
async def test_what_it_writes_starts_a_server_under_the_terminals_caps(
    command: Command, config: Path, environment: pytest.MonkeyPatch
) -> None:
    """Started as Claude Desktop does: by the entry alone, from another folder."""
    krosai = Simulator(extra_keys={KEY: ("numbers:read",)})
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "1234")
    async with open_server(krosai) as base_url:
        environment.setenv("KROS_BASE_URL", base_url)

        assert command(*INSTALL).code == 0

        async with Client(StdioServerParameters(**servers(config)["kros"], cwd="/")) as client:
            result = await client.call_tool("get_spending", {})
    assert result.structured_content is not None
    assert result.structured_content["max_purchase_cents"] == 1234
    assert {seen.method for seen in krosai.requests} == {"GET"}


@pytest.mark.anyio
@pytest.mark.usefixtures("config")
async def test_with_the_simulator_it_needs_no_key_and_writes_none(
    command: Command, config: Path, environment: pytest.MonkeyPatch
) -> None:
    ran = command(*INSTALL, "--simulator")

    assert ran.code == 0
    assert "KROS_API_KEY" in ran.out.split("Left out", 1)[1]
    entry = servers(config)["kros"]
    assert KEY not in str(entry)
    environment.delenv("KROS_API_KEY")
    assert command(*INSTALL, "--simulator").code == 0
    async with Client(StdioServerParameters(**entry)) as client:
        assert len((await client.list_tools()).tools) == 10


def test_the_entry_names_the_program_of_this_environment_and_holds_only_strings(command: Command, config: Path) -> None:
    command(*INSTALL)

    entry = servers(config)["kros"]
    assert Path(entry["command"]) == Path(sysconfig.get_path("scripts")) / "kros-mcp"
    assert entry["args"] == []
    assert all(isinstance(value, str) for value in entry["env"].values())


def test_whatever_else_stands_in_the_file_stays_in_its_order_and_form(command: Command, there: Path) -> None:
    command(*INSTALL)

    before, after = json.loads(OTHERS), json.loads(there.read_text(encoding="utf-8"))
    assert list(after) == list(before)
    assert list(after["mcpServers"]) == ["zeitgeist", "files", "kros"]
    del after["mcpServers"]["kros"]
    assert after == before
    assert '\n    "preferences"' in there.read_text(encoding="utf-8")
    assert "größe" in there.read_text(encoding="utf-8")


def test_undo_leaves_the_file_byte_for_byte_as_it_was(command: Command, there: Path) -> None:
    command(*INSTALL)
    ran = command(*INSTALL, "--undo")

    assert (ran.code, there.read_text(encoding="utf-8")) == (0, OTHERS)
    assert "again as it was" in ran.out
    assert backups(there) == []


def test_undo_takes_out_ours_alone_when_others_came_in_meanwhile(command: Command, there: Path) -> None:
    command(*INSTALL)
    meanwhile = json.loads(there.read_text(encoding="utf-8"))
    meanwhile["mcpServers"]["late"] = {"command": "late"}
    there.write_text(json.dumps(meanwhile), encoding="utf-8")

    assert command(*INSTALL, "--undo").code == 0
    assert list(servers(there)) == ["zeitgeist", "files", "late"]


def test_undo_takes_away_a_file_that_was_made_for_it_alone(command: Command, config: Path) -> None:
    command(*INSTALL)
    command(*INSTALL, "--simulator")  # which replaces what the first one wrote
    ran = command(*INSTALL, "--undo")

    assert ran.code == 0
    assert list(config.parent.iterdir()) == []


def test_undo_without_an_entry_changes_nothing_and_says_so(command: Command, there: Path) -> None:
    ran = command(*INSTALL, "--undo")

    assert (ran.code, there.read_text(encoding="utf-8")) == (0, OTHERS)
    assert "nothing was changed" in ran.out


def test_a_second_run_writes_nothing(command: Command, there: Path) -> None:
    command(*INSTALL)
    before = there.stat().st_mtime_ns, [path.read_bytes() for path in backups(there)]
    ran = command(*INSTALL)

    assert ran.code == 0
    assert "nothing was written" in ran.out
    assert (there.stat().st_mtime_ns, [path.read_bytes() for path in backups(there)]) == before


def test_an_older_entry_of_ours_is_replaced_with_word_of_it_and_undo_brings_it_back(
    command: Command, there: Path
) -> None:
    content = json.loads(OTHERS)
    content["mcpServers"]["kros"] = READMES
    there.write_text(json.dumps(content), encoding="utf-8")

    ran = command(*INSTALL)
    assert "older entry of kros-mcp, which started /usr/local/bin/uv run" in ran.out
    assert servers(there)["kros"] != READMES

    ran = command(*INSTALL, "--undo")
    assert servers(there)["kros"] == READMES
    assert "run this again" in ran.out


def test_what_an_older_entry_set_is_told_when_it_is_gone_and_what_is_not_ours_stays(
    command: Command, there: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "100")
    command(*INSTALL)
    content = json.loads(there.read_text(encoding="utf-8"))
    content["mcpServers"]["kros"]["env"]["HTTPS_PROXY"] = "http://proxy.example.com:3128"
    there.write_text(json.dumps(content), encoding="utf-8")
    environment.delenv("KROS_MAX_PURCHASE_CENTS")

    ran = command(*INSTALL)

    assert "does not set them: KROS_MAX_PURCHASE_CENTS." in ran.out
    env = servers(there)["kros"]["env"]
    assert "KROS_MAX_PURCHASE_CENTS" not in env
    assert env["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert "nothing was written" in command(*INSTALL).out


@pytest.mark.parametrize("words", [(), ("--undo",)])
def test_another_server_of_that_name_is_left_alone(command: Command, there: Path, words: tuple[str, ...]) -> None:
    ran = command(*INSTALL, "--name", "files", *words)

    assert ran.code == 1
    assert "Choose another --name." in ran.err
    assert there.read_text(encoding="utf-8") == OTHERS
    assert backups(there) == []


def test_two_names_are_undone_each_by_itself(command: Command, there: Path) -> None:
    command(*INSTALL)
    command(*INSTALL, "--simulator", "--name", "kros-play")
    command(*INSTALL, "--undo")

    assert list(servers(there)) == ["zeitgeist", "files", "kros-play"]
    command(*INSTALL, "--undo", "--name", "kros-play")
    assert json.loads(there.read_text(encoding="utf-8")) == json.loads(OTHERS)
    assert backups(there) == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b'{"mcpServers": {"files": {},}}',
        b"[]",
        b'{"mcpServers": []}',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("words", [(), ("--undo",)])
def test_a_file_that_cannot_be_understood_is_not_touched(
    command: Command, config: Path, damaged: bytes, words: tuple[str, ...]
) -> None:
    config.parent.mkdir(parents=True)
    config.write_bytes(damaged)

    ran = command(*INSTALL, *words)

    if words and ran.code == 0:  # it has no entry of ours, and nothing else of it had to be understood
        assert "nothing was changed" in ran.out
    else:
        assert ran.code == 2
        assert str(config) in ran.err
        assert len(ran.err.splitlines()) == 1
    assert config.read_bytes() == damaged
    assert [path.name for path in backups(config)] == []


def test_what_it_makes_is_readable_by_its_owner_alone(command: Command, there: Path) -> None:
    there.unlink()
    command(*INSTALL)

    assert there.stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o777 for path in backups(there)] == [0o600]


def test_a_file_that_was_there_keeps_its_mode_and_its_backup_is_its_owners_alone(command: Command, there: Path) -> None:
    there.chmod(0o644)
    ran = command(*INSTALL)

    assert there.stat().st_mode & 0o777 == 0o644
    assert f"chmod 600 '{there}'" in ran.out
    assert [path.stat().st_mode & 0o777 for path in backups(there)] == [0o600]


def test_a_link_stays_a_link(command: Command, config: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "claude.json").write_text(OTHERS, encoding="utf-8")
    config.parent.mkdir(parents=True)
    config.symlink_to(dotfiles / "claude.json")

    command(*INSTALL)
    assert config.is_symlink()
    assert "kros" in servers(dotfiles / "claude.json")
    command(*INSTALL, "--undo")
    assert config.is_symlink()
    assert [path.name for path in dotfiles.iterdir()] == ["claude.json"]


def test_a_file_that_cannot_be_written_ends_with_two(command: Command, config: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file where a folder should be")

    ran = command(*INSTALL)

    assert ran.code == 2
    assert f"{config} cannot be written" in ran.err


def test_print_writes_nothing_and_shows_no_key_but_what_the_settings_know_as_a_placeholder(
    command: Command, config: Path, environment: pytest.MonkeyPatch
) -> None:
    ran = command(*INSTALL, "--print")

    assert ran.code == 0
    assert KEY not in ran.out + ran.err
    assert str(config) in ran.err
    assert not config.parent.exists()
    shown = json.loads(ran.out)["mcpServers"]["kros"]
    environment.setenv("KROS_API_KEY", shown["env"]["KROS_API_KEY"])
    assert "in place of any placeholder" in " ".join(command("doctor").out.split())


def test_print_needs_no_key(command: Command, config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    ran = command(*INSTALL, "--print")

    assert (ran.code, config.parent.exists()) == (0, False)
    assert "KROS_API_KEY" in json.loads(ran.out)["mcpServers"]["kros"]["env"]


def test_the_password_of_a_journal_is_never_shown(
    command: Command, config: Path, environment: pytest.MonkeyPatch
) -> None:
    url = "postgresql://kros:correct-horse@db.example.com/kros"
    environment.setenv("KROS_JOURNAL_URL", url)
    environment.setenv("KROS_PRINCIPAL", "support-agent")

    for words in ((*INSTALL, "--print"), INSTALL):
        ran = command(*words)
        assert ran.code == 0
        assert "correct-horse" not in ran.out + ran.err
    assert servers(config)["kros"]["env"]["KROS_JOURNAL_URL"] == url


def test_the_key_stands_in_the_file_and_nowhere_else(command: Command, there: Path) -> None:
    for words in ((), (), ("--undo",)):
        ran = command(*INSTALL, *words)
        assert KEY not in ran.out + ran.err
        assert [KEY in path.read_text() for path in backups(there)] in ([False], [])


def test_every_setting_of_the_terminal_that_the_server_reads_goes_in_and_is_named(
    command: Command, config: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.chdir(tmp_path)
    environment.setenv("KROS_JOURNAL_URL", "sqlite:///books/journal.sqlite3")
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "700")
    environment.setenv("KROS_CURRENCY", "")
    environment.setenv("KROS_READ_ONLY", "${user_config.read_only}")
    environment.setenv("KROS_TOKENS_FILE", "tokens.toml")

    ran = command(*INSTALL)

    assert servers(config)["kros"]["env"] == {
        "KROS_API_KEY": KEY,
        "KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/books/journal.sqlite3",
        "KROS_DAILY_BUDGET_CENTS": "700",
    }
    assert "KROS_API_KEY (a test key)" in ran.out
    assert "KROS_DAILY_BUDGET_CENTS=700" in ran.out
    assert "Left out, since it does not read them: KROS_TOKENS_FILE." in ran.out


def test_the_journal_is_the_terminals_own_where_its_environment_moves_it(
    command: Command, config: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("KROS_JOURNAL_URL")
    environment.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert load_settings().journal_url is None

    command(*INSTALL)

    assert servers(config)["kros"]["env"]["KROS_JOURNAL_URL"].startswith("sqlite:////")


@pytest.mark.parametrize(
    ("name", "value"), [("KROS_MAX_PURCHASE_CENT", "1"), ("KROS_MAX_PURCHASE_CENTS", "50.00"), ("KROS_API_KEY", "a b")]
)
def test_settings_that_would_stop_the_server_are_refused_before_anything_is_written(
    command: Command, config: Path, environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    ran = command(*INSTALL)

    assert ran.code == 2
    assert name in ran.err
    assert not config.parent.exists()


def test_without_a_key_and_a_terminal_it_ends_with_two(
    command: Command, config: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("KROS_API_KEY")

    assert command(*INSTALL).code == 2
    assert not config.parent.exists()


def test_a_key_that_is_typed_is_not_shown(config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    code, shown = at_a_terminal(KEY, *INSTALL)

    assert code == 0
    assert KEY not in shown
    assert servers(config)["kros"]["env"]["KROS_API_KEY"] == KEY


def test_nothing_is_written_when_the_person_goes_away(config: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KROS_API_KEY")

    code, shown = at_a_terminal("\x04", *INSTALL)

    assert code == 1
    assert "nothing was written" in shown
    assert not config.parent.exists()


@pytest.mark.parametrize("name", ["", "a b", "../kros", "k" * 33])
def test_a_name_that_clients_would_choke_on_is_refused(command: Command, config: Path, name: str) -> None:
    assert command(*INSTALL, "--name", name).code == 2
    assert not config.parent.exists()


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
