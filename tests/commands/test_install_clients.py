"""`kros-mcp install`: each client's own file, in its own form, with whatever else stands there."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands_doubles import Command
from install_bench import KEY
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from kros_mcp.commands import install_file
from kros_mcp.commands.install_clients import CLIENTS
from kros_mcp.commands.json_text import JsonText
from kros_mcp.commands.toml_text import TomlText
from kros_mcp.errors import KrosError

OTHERS = {
    "claude-code": """\
{
  "numStartups": 7,
  "projects": {"/src": {"mcpServers": {"kros": {"command": "of-one-project"}}}},
  "mcpServers": {
    "files": {"type": "stdio", "command": "npx", "args": [], "env": {}}
  }
}
""",
    "cursor": """\
{
  // what the team shares
  "mcpServers": {
    "files": {"command": "npx", "args": ["-y", "files"]}, // keep: https://example.com
  },
}
""",
    "vscode": """\
{
\t/* {"servers": {}} */
\t"inputs": [
\t\t{"type": "promptString", "id": "files-token", "description": "Token", "password": true} // of files
\t],
\t"servers": {
\t\t"files": {"type": "stdio", "command": "npx", "env": {"TOKEN": "${input:files-token}"}}, // ], }
\t},
}
""",
    "codex": """\
# mine
model = "best"   # the best

[mcp_servers.files]
command = 'npx'  # keep
args = ["-y",
        "files"]

# trusted
[projects."/src"]
trust_level = "trusted"
""",
}
NAMES = tuple(OTHERS)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    client: str = request.param
    return client


@pytest.fixture
def file(name: str, desktop_config: Path, tmp_path: Path) -> Path:
    """The file of a client, with the key in the terminal; it is not there yet."""
    del desktop_config  # which sets the home folder and the key
    return CLIENTS[name].find(sys.platform, tmp_path, os.environ)


@pytest.fixture
def there(name: str, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OTHERS[name])
    return file


def content(name: str, path: Path) -> dict[str, Any]:
    """What a file says, read by something else than what wrote it: comments and last commas are cut out."""
    text = path.read_text()
    if name == "codex":
        return tomllib.loads(text)
    if name != "claude-code":
        text = re.sub(r"/\*.*?\*/|// (keep|what|of|\]).*", "", text)
        text = re.sub(r",(\s*[}\]])", r"\1", text)
    said: dict[str, Any] = json.loads(text)
    return said


def entry(name: str, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = content(name, path)[CLIENTS[name].servers]["kros"]
    return found


def test_all_that_stands_there_stays_and_undo_brings_back_every_byte(command: Command, name: str, there: Path) -> None:
    assert command("install", name).code == 0

    after = there.read_text()
    lines = after.replace(",", "")
    assert [line for line in OTHERS[name].splitlines() if line.replace(",", "") not in lines] == []
    said, before = content(name, there), tomllib.loads(OTHERS[name]) if name == "codex" else None
    assert list(said[CLIENTS[name].servers]) == ["files", "kros"]
    del said[CLIENTS[name].servers]["kros"]
    assert before in (None, said)
    assert there.stat().st_mode & 0o777 == 0o644

    again = command("install", name)
    assert "just so; nothing was written" in again.out
    assert there.read_text() == after

    assert "again as it was" in command("install", name, "--undo").out
    assert there.read_text() == OTHERS[name]
    assert [path.name for path in there.parent.glob(f"{there.name}.*")] == []


@pytest.mark.anyio
async def test_the_entry_starts_a_server_in_the_form_of_the_client(command: Command, name: str, file: Path) -> None:
    assert command("install", name, "--simulator").code == 0

    written = entry(name, file)
    beside = {key: value for key, value in written.items() if key not in {"command", "args", "env"}}
    assert beside == CLIENTS[name].beside
    assert written["env"]["KROS_ANSWER_WITHIN_SECONDS"] == "45"
    async with Client(StdioServerParameters(**{key: written[key] for key in ("command", "args", "env")})) as client:
        assert len((await client.list_tools()).tools) == 11
    assert "is gone" in command("install", name, "--undo").out


def test_a_key_in_a_file_stays_there_and_no_client_asks_for_another(
    command: Command, name: str, file: Path, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(KEY)
    environment.delenv("KROS_API_KEY")
    environment.setenv("KROS_API_KEY_FILE", str(tmp_path / "key"))

    printed, ran = command("install", name, "--print"), command("install", name)

    env = entry(name, file)["env"]
    assert env["KROS_API_KEY_FILE"] == str(tmp_path / "key")
    assert "KROS_API_KEY" not in env
    assert not re.search(r"KROS_API_KEY\b", printed.out)
    assert "asks for KROS_API_KEY" not in ran.out
    assert KEY not in printed.out + printed.err + ran.out + ran.err
    assert KEY not in file.read_text()

    environment.delenv("KROS_API_KEY_FILE")
    environment.setenv("KROS_API_KEY", KEY)
    assert command("install", name).code == 0
    env = entry(name, file)["env"]
    assert "KROS_API_KEY_FILE" not in env
    assert "KROS_API_KEY" in env


def test_a_replaced_entry_keeps_its_comments_and_limits_and_loses_no_cap(
    command: Command, name: str, there: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "100")
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "300")
    command("install", name)
    text = there.read_text().replace('"100"', '"200"')
    text = text.replace("tool_timeout_sec = 660", "tool_timeout_sec = 900 # patience")
    if CLIENTS[name].text == JsonText(comments=True):
        text = text.replace('"KROS_MAX', '// my cap\n"KROS_MAX')
    there.write_text(text)
    environment.delenv("KROS_DAILY_BUDGET_CENTS")

    refused = command("install", name)
    assert refused.code == 1
    assert "sets KROS_DAILY_BUDGET_CENTS, which this terminal does not" in refused.err
    assert there.read_text() == text

    environment.setenv("KROS_DAILY_BUDGET_CENTS", "300")
    environment.setenv("KROS_CURRENCY", "USD")
    assert command("install", name).code == 0
    assert there.read_text().replace('"100"', '"200"').replace("KROS_CURRENCY", "") != text
    assert entry_env(name, there)["KROS_MAX_PURCHASE_CENTS"] == "100"
    assert entry_env(name, there)["KROS_CURRENCY"] == "USD"
    for kept in ("# patience", "// my cap"):
        assert (kept in there.read_text()) is (kept in text)


def entry_env(name: str, path: Path) -> dict[str, str]:
    text = path.read_text()
    path_without = path.with_name("read")
    path_without.write_text(text.replace("// my cap\n", ""))
    env: dict[str, str] = entry(name, path_without)["env"]
    path_without.unlink()
    return env


def test_ours_alone_goes_when_others_came_in_meanwhile(command: Command, name: str, there: Path) -> None:
    command("install", name)
    text = there.read_text()
    if name == "codex":
        there.write_text(text + '\n# later\n[mcp_servers.late]\ncommand = "late"\n')
    else:
        there.write_text(text.replace('"files": {', '"late": {"command": "late"},\n"files": {'))

    assert command("install", name, "--undo").code == 0

    assert sorted(content(name, there)[CLIENTS[name].servers]) == ["files", "late"]
    comments = re.findall(r"(?:# |// (?!me)).*", OTHERS[name]) + (["# later"] if name == "codex" else [])
    assert [comment for comment in comments if comment not in there.read_text()] == []
    assert "kros-api-key" not in there.read_text()


def test_a_comment_that_came_in_meanwhile_stays(command: Command, name: str, there: Path) -> None:
    command("install", name)
    line = {"codex": "# later\n", "claude-code": ""}.get(name, "// later\n")
    there.write_text(line + there.read_text())

    assert command("install", name, "--undo").code == 0

    assert there.read_text().startswith(line)
    kept = there.read_text().replace(",", "").splitlines()
    assert [each for each in OTHERS[name].replace(",", "").splitlines() if each not in kept] == []


@pytest.mark.parametrize("undo", [True, False])
def test_what_another_program_writes_meanwhile_is_not_lost(
    command: Command, name: str, there: Path, environment: pytest.MonkeyPatch, *, undo: bool
) -> None:
    if undo:
        command("install", name)
    later, as_read = there.read_text() + "\n", install_file.read

    def read_too_early(*given: Any) -> install_file.ConfigFile:
        found = as_read(*given)
        if found.path == there:
            there.write_text(later)
        return found

    environment.setattr(install_file, "read", read_too_early)
    ran = command("install", name, *(["--undo"] if undo else []))

    assert (ran.code, there.read_text()) == (2, later)
    assert "Another program has changed" in ran.err
    assert there.with_name(f"{there.name}.before-kros").exists() is undo


def test_undo_leaves_and_brings_back_the_questions_of_its_person(
    command: Command, desktop_config: Path, tmp_path: Path
) -> None:
    del desktop_config
    file = tmp_path / "mcp.json"
    mine = [{"type": "promptString", "id": name, "description": "mine"} for name in ("kros-api-key", "kros-key")]
    former = {"command": "/opt/kros-mcp", "env": {"KROS_API_KEY": "${input:kros-key}"}}
    file.write_text(json.dumps({"inputs": mine, "servers": {"kros": former}}))

    command("install", "vscode", "--config", str(file))
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "servers": {**said["servers"], "late": {"command": "late"}}}))
    command("install", "vscode", "--undo", "--config", str(file))

    said = json.loads(file.read_text())
    assert sorted(one["id"] for one in said["inputs"]) == ["kros-api-key", "kros-key"]
    assert said["servers"]["kros"] == former


def test_undo_brings_back_what_was_written_by_hand_after_an_earlier_installation(
    command: Command, desktop_config: Path, environment: pytest.MonkeyPatch
) -> None:
    command("install", "claude-desktop")
    by_hand = {"mcpServers": {"kros": {"command": "/opt/kros-mcp", "env": {"KROS_MAX_PURCHASE_CENTS": "100"}}}}
    desktop_config.write_text(json.dumps(by_hand))
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "100")
    for _ in range(2):
        command("install", "claude-desktop")
        environment.setenv("KROS_DAILY_BUDGET_CENTS", "100")

    ran = command("install", "claude-desktop", "--undo")

    assert "The kros that stood there before is back" in ran.out
    assert json.loads(desktop_config.read_text()) == by_hand


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--from", "git+https://ada:canary-word@git.example/kros-mcp", "kros-mcp"], "--from ... kros-mcp"),
        (["kros-mcp", "--header", "Authorization: Bearer kros_live_canary-word"], "kros-mcp --header ..."),
        (["kros-mcp", "the key is kros_test_canary-word"], "kros-mcp ..."),
        (["kros-mcp", "--api-key", "canary-word", "http"], "kros-mcp --api-key ... http"),
        (["kros-mcp", "--api-key=canary-word", "http"], "kros-mcp --api-key=... http"),
    ],
)
def test_no_login_and_no_key_in_an_older_entry_is_shown(
    command: Command, desktop_config: Path, arguments: list[str], shown: str
) -> None:
    entry = {"command": "uvx", "args": arguments}
    desktop_config.parent.mkdir(parents=True, exist_ok=True)
    desktop_config.write_text(json.dumps({"mcpServers": {"kros": entry}}))

    ran = command("install", "claude-desktop")

    assert f"which started uvx {shown}." in ran.out
    assert "canary-word" not in ran.out + ran.err


def test_no_secret_is_shown_and_vs_code_is_given_none(
    command: Command, name: str, there: Path, environment: pytest.MonkeyPatch
) -> None:
    secrets = {
        "KROS_JOURNAL_URL": "postgresql://kros:correct-horse@db.example.com/kros",
        "KROS_WEBHOOK_URL": "https://hooks.example.com/canary0123456789ab",
        "KROS_WEBHOOK_SECRET": "whsec_cafe0123cafe0123cafe0123cafe0123",
        "HTTPS_PROXY": "http://ada:correct-horse@proxy.test:3128",
    }
    for variable, value in {**secrets, "KROS_PRINCIPAL": "ada"}.items():
        environment.setenv(variable, value)

    for words in (("--print",), (), ("--undo",)):
        ran = command("install", name, *words)
        assert ran.code == 0
        assert not [value for value in (KEY, "correct-horse", *secrets.values()) if value in ran.out + ran.err]
        if words:
            continue
        written = entry(name, there)["env"]
        if name == "vscode":
            asked = {one["id"]: one for one in content(name, there)["inputs"]}
            for variable in ("KROS_API_KEY", *secrets):
                assert asked[written[variable].removeprefix("${input:").removesuffix("}")]["password"] is True
            assert not [value for value in (KEY, *secrets.values()) if value in there.read_text()]
        else:
            assert {variable: written[variable] for variable in ("KROS_API_KEY", *secrets)} == {
                "KROS_API_KEY": KEY,
                **secrets,
            }
    assert there.read_text() == OTHERS[name]


def test_print_is_what_the_client_reads(command: Command, name: str, file: Path) -> None:
    ran = command("install", name, "--print", "--simulator")

    shown = tomllib.loads(ran.out) if name == "codex" else json.loads(ran.out)
    assert shown[CLIENTS[name].servers]["kros"]["args"] == ["--simulator"]
    assert not file.exists()
    command("install", name, "--simulator")
    assert content(name, file) == shown


def test_vs_code_needs_no_key_and_its_question_goes_with_the_key(
    command: Command, desktop_config: Path, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    del desktop_config
    environment.delenv("KROS_API_KEY")
    environment.chdir(tmp_path)
    file = tmp_path / ".vscode" / "mcp.json"

    ran = command("install", "vscode", "--config", ".vscode/mcp.json")
    assert ran.code == 0
    assert "VS Code asks for KROS_API_KEY itself" in ran.out
    assert json.loads(file.read_text())["inputs"][0]["id"] == "kros-api-key"

    mine = {"type": "promptString", "id": "proxy", "description": "my own"}
    said = json.loads(file.read_text())
    said["inputs"].append(mine)
    said["servers"]["kros"]["env"]["HTTPS_PROXY"] = "${input:proxy}"
    file.write_text(json.dumps(said))
    assert command("install", "vscode", "--simulator", "--config", ".vscode/mcp.json").code == 0
    assert json.loads(file.read_text())["inputs"] == [mine]
    assert command("install", "vscode", "--undo", "--config", ".vscode/mcp.json").code == 0
    assert json.loads(file.read_text()) == {"inputs": [mine]}


def test_a_key_in_a_git_repository_is_warned_of(command: Command, desktop_config: Path, tmp_path: Path) -> None:
    del desktop_config
    (tmp_path / ".git").mkdir()

    for client, warned in (("cursor", True), ("vscode", False)):
        ran = command("install", client, "--config", str(tmp_path / client / "mcp.json"))
        assert ("keep it out of commits" in ran.out) is warned

    file = tmp_path / "vscode" / "mcp.json"
    file.write_text(json.dumps({"servers": {"kros": {"command": "kros-mcp", "env": {"KROS_API_KEY": KEY}}}}))
    ran = command("install", "vscode", "--config", str(file))
    assert f"{file}.before-kros lies in a git repository: keep it out of commits" in ran.out


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("codex", 'mcp_servers = {files = {command = "npx"}}\n'),
        ("codex", "[mcp_servers\n"),
        ("codex", "mcp_servers = 1\n"),
        ("vscode", '{"servers": {}, /* }'),
        ("vscode", '{"inputs": {}}'),
        ("vscode", '{"inputs": ["kros-api-key"], "servers": {}}'),
        ("vscode", '{"inputs": [{"id": ["kros"]}], "servers": {}}'),
        ("vscode", '{"inputs": [{"id": "kros-api-key"}, {"id": "kros-api-key"}], "servers": {}}'),
        ("claude-code", '{"mcpServers": {} // no comments there\n}'),
    ],
)
def test_what_cannot_be_changed_safely_is_left_as_it_is(
    command: Command, desktop_config: Path, tmp_path: Path, client: str, text: str
) -> None:
    del desktop_config
    file = tmp_path / "odd"
    file.write_text(text)

    ran = command("install", client, "--config", str(file))

    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert file.read_text() == text
    assert list(tmp_path.glob("odd*")) == [file]


@pytest.mark.parametrize(
    ("client", "platform", "environment", "expected"),
    [
        ("claude-code", "linux", {}, "/home/of/.claude.json"),
        ("claude-code", "win32", {"CLAUDE_CONFIG_DIR": "/moved"}, "/moved/.claude.json"),
        ("cursor", "darwin", {"XDG_CONFIG_HOME": "/xdg"}, "/home/of/.cursor/mcp.json"),
        ("vscode", "linux", {}, "/home/of/.config/Code/User/mcp.json"),
        ("vscode", "linux", {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/Code/User/mcp.json"),
        ("vscode", "darwin", {}, "/home/of/Library/Application Support/Code/User/mcp.json"),
        ("vscode", "win32", {"APPDATA": "/roaming"}, "/roaming/Code/User/mcp.json"),
        ("codex", "linux", {}, "/home/of/.codex/config.toml"),
        ("codex", "darwin", {"CODEX_HOME": "/moved"}, "/moved/config.toml"),
    ],
)
def test_each_client_has_its_place(client: str, platform: str, environment: dict[str, str], expected: str) -> None:
    assert CLIENTS[client].find(platform, Path("/home/of"), environment) == Path(expected)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, // b, } c\n "s": {}, }',
        '{"s": {"x": "// , }"}}',
        '{\r\n\t"s": {\r\n\t\t"x": [1, 2,], /* , ] */\r\n\t},\r\n}\r\n',
        '{"s": {"x": {"kros": 1}},\n "kros": {"s": 2}}',
        "{ // only a comment\n}",
    ],
)
def test_json_with_comments_takes_and_gives_back_without_a_change_elsewhere(text: str) -> None:
    form = JsonText(comments=True)
    before = form.parse(text)

    held = text if "s" in before else form.put(text, ("s",), {})
    grown = form.put(held, ("s", "kros"), {"n": 1})
    changed = form.put(grown, ("s", "kros", "n"), 2)

    assert form.parse(changed) == {**before, "s": {**before.get("s", {}), "kros": {"n": 2}}}
    assert form.parse(form.drop(changed, ("s", "kros"))) == form.parse(held)
    for comment in ("// b, } c", "/* , ] */", "// only a comment"):
        assert (comment in form.drop(changed, ("s", "kros"))) is (comment in text)


def test_many_comments_take_no_time() -> None:
    text = '{"a": 1, ' + "/* x */ " * 5_000 + '"b": 2}'

    assert JsonText(comments=True).parse(text) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        'x = 1\n[s]\n# of y\n[s.y]\nz = """\n[s.kros]\n"""\n# last\n',
        "[s.y]\na = 1\n\n[other]\nb = 2\n\n[s.z]\nc = 3",
        "s.y.a = 1\r\n[other]\r\nb = 2\r\n",
    ],
)
def test_toml_takes_and_gives_back_without_a_change_elsewhere(text: str) -> None:
    form = TomlText()
    grown = form.put(text, ("s", "kros"), {"n": 1, "env": {"A": "b"}})
    changed = form.put(form.put(grown, ("s", "kros", "n"), 2), ("s", "kros", "env", "C"), "d")

    before = tomllib.loads(text)
    assert tomllib.loads(changed) == {**before, "s": {**before["s"], "kros": {"n": 2, "env": {"A": "b", "C": "d"}}}}
    assert form.drop(changed, ("s", "kros")).rstrip() == text.rstrip()


def test_an_error_of_a_file_quotes_nothing_of_it() -> None:
    for form, text in ((TomlText(), 'a = "kros_live_x\n'), (JsonText(), '{"a": "kros_live_x}')):
        with pytest.raises(KrosError) as raised:
            form.parse(text)
        assert "kros_live" not in str(raised.value)
        assert "line 1" in str(raised.value)
