"""`kros-mcp install claude-desktop`: what it writes, what it leaves alone, and that it can be undone."""

import json
import sysconfig
from pathlib import Path

import pytest
from commands_doubles import Command
from install_bench import INSTALL, KEY, OTHERS, backups, servers
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from kros_mcp.simulator import Simulator, open_server

READMES = {"command": "/usr/local/bin/uv", "args": ["run", "--no-dev", "--directory", "/src/kros-mcp", "kros-mcp"]}


@pytest.mark.anyio
async def test_what_it_writes_starts_a_server_under_the_terminals_caps(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    """Started as Claude Desktop does: by the entry alone, from another folder."""
    krosai = Simulator(extra_keys={KEY: ("numbers:read",)})
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "1234")
    async with open_server(krosai) as base_url:
        environment.setenv("KROS_BASE_URL", base_url)

        assert command(*INSTALL).code == 0

        async with Client(StdioServerParameters(**servers(desktop_config)["kros"], cwd="/")) as client:
            result = await client.call_tool("get_spending", {})
    assert result.structured_content is not None
    assert result.structured_content["max_purchase_cents"] == 1234
    assert {seen.method for seen in krosai.requests} == {"GET"}


@pytest.mark.anyio
async def test_with_the_simulator_it_needs_no_key_and_writes_none(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    ran = command(*INSTALL, "--simulator")

    assert ran.code == 0
    assert "KROS_API_KEY" in ran.out.split("Left out", 1)[1]
    entry = servers(desktop_config)["kros"]
    assert KEY not in str(entry)
    environment.delenv("KROS_API_KEY")
    assert command(*INSTALL, "--simulator").code == 0
    async with Client(StdioServerParameters(**entry)) as client:
        assert len((await client.list_tools()).tools) == 11


def test_the_entry_names_the_program_of_this_environment_and_holds_only_strings(
    command: Command, desktop_config: Path
) -> None:
    command(*INSTALL)

    entry = servers(desktop_config)["kros"]
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


@pytest.mark.parametrize(
    "before", [b"", b"{}", b'{"mcpServers": {}}\n', b'\xef\xbb\xbf{"a": 1}', b'{\r\n\t"a": 1\r\n}\r\n']
)
def test_undo_brings_back_every_byte_of_a_file_that_named_no_server(
    command: Command, desktop_config: Path, before: bytes
) -> None:
    desktop_config.parent.mkdir(parents=True)
    desktop_config.write_bytes(before)

    assert command(*INSTALL).code == 0
    assert "kros" in servers(desktop_config)
    assert command(*INSTALL, "--undo").code == 0
    assert [path.read_bytes() for path in desktop_config.parent.iterdir()] == ([before] if before else [])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_what_it_writes_has_the_lines_and_the_end_of_what_was_there(
    command: Command, there: Path, end: str, last: str
) -> None:
    there.write_bytes((OTHERS.replace("\n", end) + (end if last else "")).encode())

    command(*INSTALL)

    written = there.read_bytes().decode()
    assert written.count("\n") == written.count(end) > 10
    assert written.endswith(end) is bool(last)


def test_undo_takes_out_ours_alone_when_others_came_in_meanwhile(command: Command, there: Path) -> None:
    command(*INSTALL)
    meanwhile = json.loads(there.read_text(encoding="utf-8"))
    meanwhile["mcpServers"]["late"] = {"command": "late"}
    there.write_text(json.dumps(meanwhile), encoding="utf-8")

    assert command(*INSTALL, "--undo").code == 0
    assert list(servers(there)) == ["zeitgeist", "files", "late"]


def test_undo_takes_away_a_file_that_was_made_for_it_alone(command: Command, desktop_config: Path) -> None:
    command(*INSTALL)
    command(*INSTALL, "--simulator")  # which replaces what the first one wrote
    ran = command(*INSTALL, "--undo")

    assert ran.code == 0
    assert list(desktop_config.parent.iterdir()) == []


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


def test_no_cap_of_an_older_entry_gets_lost_and_what_is_not_ours_stays(
    command: Command, there: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "100")
    command(*INSTALL)
    content = json.loads(there.read_text(encoding="utf-8"))
    content["mcpServers"]["kros"]["env"]["HTTPS_PROXY"] = "http://proxy.example.com:3128"
    there.write_text(json.dumps(content), encoding="utf-8")
    environment.delenv("KROS_MAX_PURCHASE_CENTS")
    before = there.read_bytes()

    ran = command(*INSTALL)
    assert ran.code == 1
    assert "sets KROS_MAX_PURCHASE_CENTS, which this terminal does not" in ran.err
    assert "--undo" in ran.err
    assert there.read_bytes() == before

    environment.setenv("KROS_MAX_PURCHASE_CENTS", "200")
    assert command(*INSTALL).code == 0
    env = servers(there)["kros"]["env"]
    assert env["KROS_MAX_PURCHASE_CENTS"] == "200"
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
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("words", [(), ("--undo",)])
def test_a_file_that_cannot_be_understood_is_not_touched(
    command: Command, desktop_config: Path, damaged: bytes, words: tuple[str, ...]
) -> None:
    desktop_config.parent.mkdir(parents=True)
    desktop_config.write_bytes(damaged)

    ran = command(*INSTALL, *words)

    if words and ran.code == 0:  # it has no entry of ours, and nothing else of it had to be understood
        assert "nothing was changed" in ran.out
    else:
        assert ran.code == 2
        assert str(desktop_config) in ran.err
        assert len(ran.err.splitlines()) == 1
    assert desktop_config.read_bytes() == damaged
    assert [path.name for path in backups(desktop_config)] == []


@pytest.mark.parametrize(
    "odd", ['{"a": 1e999, "b": 1.10}', '{"a": "\\ud800"}', '{"a": [1,2], "mcpServers": {"x": {}}}']
)
def test_what_others_wrote_stays_as_they_wrote_it(command: Command, desktop_config: Path, odd: str) -> None:
    desktop_config.parent.mkdir(parents=True)
    desktop_config.write_text(odd)

    assert command(*INSTALL).code == 0
    assert odd.rstrip("}") in desktop_config.read_text()
    assert "kros" in servers(desktop_config)


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
    for path in backups(there):
        path.chmod(0o644)
    command(*INSTALL, "--undo")
    made = there.with_name(f"{there.name}.before-kros")
    made.touch(0o644)
    command(*INSTALL)
    assert [path.stat().st_mode & 0o777 for path in backups(there)] == [0o600]


def test_a_link_stays_a_link(command: Command, desktop_config: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "claude.json").write_text(OTHERS, encoding="utf-8")
    desktop_config.parent.mkdir(parents=True)
    desktop_config.symlink_to(dotfiles / "claude.json")

    command(*INSTALL)
    assert desktop_config.is_symlink()
    assert "kros" in servers(dotfiles / "claude.json")
    command(*INSTALL, "--undo")
    assert desktop_config.is_symlink()
    assert [path.name for path in dotfiles.iterdir()] == ["claude.json"]


def test_a_file_that_cannot_be_written_ends_with_two(command: Command, desktop_config: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file where a folder should be")

    ran = command(*INSTALL)

    assert ran.code == 2
    assert f"{desktop_config} cannot be written" in ran.err


@pytest.mark.parametrize("name", ["", "a b", "../kros", "k" * 33])
def test_a_name_that_clients_would_choke_on_is_refused(command: Command, desktop_config: Path, name: str) -> None:
    assert command(*INSTALL, "--name", name).code == 2
    assert not desktop_config.parent.exists()
