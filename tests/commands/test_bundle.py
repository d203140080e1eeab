"""`kros-mcp bundle`: the form comes from the settings, and nothing is in the file but what runs."""

import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from commands_doubles import Command
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from packaging.requirements import Requirement

import kros_mcp
from kros_mcp.commands import bundle_form
from kros_mcp.commands.bundle import FORM, LEFT_OUT, contents, packed
from kros_mcp.commands.setting_fields import described
from kros_mcp.errors import SettingsError
from kros_mcp.service_settings import ServiceSettings
from kros_mcp.settings import Confirmation, Settings, load_settings
from kros_mcp.simulator import Simulator, open_server

ROOT = Path(kros_mcp.__file__).parent.parent
KEY = "kros_test_of_the_desktop"


@pytest.fixture(scope="module")
def bundle() -> dict[str, bytes]:
    return contents()


@pytest.fixture
def manifest(bundle: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle["manifest.json"])
    return found


def environment_of(manifest: dict[str, Any], **filled: str) -> dict[str, str]:
    """The variables that Claude Desktop sets: what was filled in, defaults, and else the placeholder as it is."""
    answers = {
        name: json.dumps(asked["default"]).strip('"')
        for name, asked in manifest["user_config"].items()
        if "default" in asked
    } | filled
    env: dict[str, str] = manifest["server"]["mcp_config"]["env"]
    for name, answer in answers.items():
        env = {variable: value.replace(f"${{user_config.{name}}}", answer) for variable, value in env.items()}
    return env


def started_with(environment: pytest.MonkeyPatch, manifest: dict[str, Any], **filled: str) -> list[str]:
    """Set what Claude Desktop would, as the bundle reads it; the words of the command line."""
    given = environment_of(manifest, **filled)
    words = bundle_form.read(given)
    for variable, value in given.items():
        environment.setenv(variable, value)
    return words


def test_every_setting_of_the_stdio_server_is_asked_for_or_left_out_on_purpose() -> None:
    own = Settings.model_fields.keys() - ServiceSettings.model_fields.keys() - {"simulator"}
    lines = bundle_form.AMOUNTS | bundle_form.WORDS
    asked = {lines[name].setting if name in lines else name for name in FORM} - {"simulator"}

    assert described().keys() == own
    assert asked | LEFT_OUT == own
    assert not asked & LEFT_OUT


def test_every_line_of_the_form_reaches_its_setting(manifest: dict[str, Any]) -> None:
    translated = {"simulator", *bundle_form.AMOUNTS, *bundle_form.WORDS}
    variables = {name: f"KROS_FORM_{name.upper()}" if name in translated else f"KROS_{name.upper()}" for name in FORM}

    assert manifest["server"]["mcp_config"]["env"] == {
        **{variable: f"${{user_config.{name}}}" for name, variable in variables.items()},
        "KROS_ANSWER_WITHIN_SECONDS": "45",
    }
    assert list(manifest["user_config"]) == list(FORM)
    assert "numbers:write" in manifest["user_config"]["api_key"]["description"]


def test_no_line_is_required_and_the_key_is_kept_as_a_secret(manifest: dict[str, Any]) -> None:
    """Without a key the server starts all the same and says what is missing; the simulator needs none."""
    form = manifest["user_config"]

    assert not [name for name, asked in form.items() if asked["required"]]
    assert [name for name, asked in form.items() if asked.get("sensitive")] == ["api_key"]
    assert "default" not in form["api_key"]
    assert "Not needed with the simulator" in form["api_key"]["description"]


def test_amounts_are_asked_for_in_whole_units_and_say_so(manifest: dict[str, Any]) -> None:
    form, settings = manifest["user_config"], Settings.model_fields
    assert not [name for name in form if "cents" in name]
    for name, line in bundle_form.AMOUNTS.items():
        assert (form[name]["type"], form[name]["min"]) == ("number", 0)
        assert form[name]["title"] == line.title
        assert line.title.endswith("(whole units, not cents)")
        assert "cents: 5000" not in form[name]["description"]
        default = settings[line.setting].default
        assert form[name].get("default") == (None if default is None else default / 100)


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("50", 5_000),
        (" 50 ", 5_000),
        ("050", 5_000),
        ("5000", 500_000),
        ("0", 0),
        ("999999999999", 99_999_999_999_900),
        ("", None),
        ("${user_config.max_purchase}", None),
    ],
)
def test_a_whole_number_is_units_and_nothing_is_nothing(written: str, cents: int | None) -> None:
    given = {"KROS_FORM_MAX_PURCHASE": written}

    assert bundle_form.read(given) == []
    assert given == ({} if cents is None else {"KROS_MAX_PURCHASE_CENTS": str(cents)})


@pytest.mark.parametrize(
    "written",
    ["50.00", "50,00", "5,000", "5.000", "5'000", "-50", "+50", "5e3", "1e+21", "50 USD", "$50", "\u0665\u0660", "null",
     "NaN", "1" * 13, "${LIMIT}", "0x50", "5_000"],
)  # fmt: skip
def test_an_amount_that_could_be_read_in_two_ways_starts_nothing(written: str) -> None:
    given = {"KROS_FORM_DAILY_BUDGET": written}

    with pytest.raises(
        SettingsError, match=r"“Most in 24 hours .*whole units of your currency without a point"
    ) as told:
        bundle_form.read(given)
    assert written not in told.value.message
    assert "KROS_DAILY_BUDGET_CENTS" not in given


def test_past_the_bundles_own_start_the_form_stops_the_server(
    manifest: dict[str, Any], environment: pytest.MonkeyPatch
) -> None:
    """What somebody chose as a cap must never be quietly no cap."""
    for variable, value in environment_of(manifest, api_key=KEY, max_purchase="7").items():
        environment.setenv(variable, value)
    with pytest.raises(SettingsError, match="KROS_FORM_"):
        load_settings()


@pytest.mark.parametrize(
    ("switched", "words"),
    [("true", ["--simulator"]), ("false", []), ("", []), ("${user_config.simulator}", [])],
)
def test_the_simulator_is_a_switch(switched: str, words: list[str]) -> None:
    assert bundle_form.read({"KROS_FORM_SIMULATOR": switched}) == words


def test_a_switch_that_is_neither_on_nor_off_starts_nothing() -> None:
    with pytest.raises(SettingsError, match="must be on or off"):
        bundle_form.read({"KROS_FORM_SIMULATOR": "maybe"})


def test_every_way_of_saying_yes_is_explained_and_a_wrong_word_is_told_the_right_ones(
    manifest: dict[str, Any], environment: pytest.MonkeyPatch
) -> None:
    told = manifest["user_config"]["confirmation"]["description"]
    assert all(f" {way}: " in told for way in Confirmation)

    started_with(environment, manifest, api_key=KEY, confirmation=" Browser ")
    assert load_settings().confirmation is Confirmation.BROWSER
    started_with(environment, manifest, api_key=KEY, confirmation="ask me")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert all(f"'{way}'" in refused.value.message for way in Confirmation)


def test_nothing_that_claude_desktop_cannot_put_in_is_asked_of_it(manifest: dict[str, Any]) -> None:
    """An unknown variable, such as a display's, would reach the server as it stands."""
    config = manifest["server"]["mcp_config"]
    variables = re.findall(r"\$\{([^}]*)\}", json.dumps(config))
    assert {*variables} == {"__dirname", *(f"user_config.{name}" for name in FORM)}


def test_a_form_that_is_left_as_it_is_means_the_defaults(
    manifest: dict[str, Any], environment: pytest.MonkeyPatch
) -> None:
    """Claude Desktop leaves the placeholder where nothing was filled in and there is no default."""
    environment.delenv("KROS_JOURNAL_URL")
    assert started_with(environment, manifest, api_key=KEY) == []

    expected = Settings.model_construct().model_dump(exclude={"api_key"}) | {"answer_within_seconds": 45}
    assert load_settings().model_dump(exclude={"api_key"}) == expected


def test_a_form_that_is_filled_in_is_what_holds(manifest: dict[str, Any], environment: pytest.MonkeyPatch) -> None:
    started_with(
        environment,
        manifest,
        api_key=KEY,
        read_only="true",
        max_purchase="7",
        approval_above="6",
        allowed_countries="NG, KE",
        confirmation="approver",
    )

    settings = load_settings()
    assert (settings.read_only, settings.max_purchase_cents, settings.approval_above_cents) == (True, 700, 600)
    assert settings.allowed_countries == ("NG", "KE")
    assert settings.confirmation == "approver"


def test_nothing_of_the_terminals_environment_is_in_it(
    bundle: dict[str, bytes], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_API_KEY", KEY)
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "not a number")

    assert contents() == bundle


def test_the_same_files_give_the_same_bytes(bundle: dict[str, bytes]) -> None:
    assert packed(bundle) == packed(dict(reversed(bundle.items())))
    with zipfile.ZipFile(io.BytesIO(packed(bundle))) as written:
        assert {(entry.date_time, entry.external_attr >> 16) for entry in written.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644)
        }


def test_it_holds_the_package_as_git_knows_it_and_what_starts_it(bundle: dict[str, bytes]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "kros_mcp"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    beside = {"manifest.json", "pyproject.toml", "main.py", "icon.png", "README.md", "PRIVACY.md", "LICENSE"}
    assert bundle.keys() == {*listed.stdout.split(), *beside}
    assert bundle["README.md"] == (ROOT / "README.md").read_bytes()
    assert bundle["PRIVACY.md"] == (ROOT / "docs/privacy.md").read_bytes()
    assert "PRIVACY.md" in json.loads(bundle["manifest.json"])["long_description"]


def test_what_lies_about_in_a_clone_does_not_come_along(bundle: dict[str, bytes], tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "kros_mcp", clone / "kros_mcp")
    (clone / "docs").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "docs/privacy.md"):
        shutil.copy(ROOT / name, clone / name)
    for name in (".env", "journal.sqlite3", "tokens.toml", "uv.lock", "notes.txt", ".hidden/key.py", "http/.key.py"):
        (clone / "kros_mcp" / name).parent.mkdir(exist_ok=True)
        (clone / "kros_mcp" / name).write_text(KEY)
    (clone / "kros_mcp" / "elsewhere.py").symlink_to(clone / "kros_mcp" / ".env")
    (clone / "uv.lock").touch()
    (clone / "kros_mcp" / "py.typed").write_text("of the clone")
    subprocess.run(
        [sys.executable, "-m", "kros_mcp", "bundle", str(tmp_path / "kros.mcpb")],
        cwd=clone,
        check=True,
        stdout=subprocess.DEVNULL,
    )

    with zipfile.ZipFile(tmp_path / "kros.mcpb") as written:
        found = {name: written.read(name) for name in written.namelist()}
    assert found == {**bundle, "kros_mcp/py.typed": b"of the clone"}


def test_uv_is_told_to_install_what_the_project_needs_and_no_extras(bundle: dict[str, bytes]) -> None:
    told = tomllib.loads(bundle["pyproject.toml"].decode())["project"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {*map(Requirement, told["dependencies"])} == {*map(Requirement, project["dependencies"])}
    assert told["requires-python"] == project["requires-python"]
    assert told["version"] == kros_mcp.__version__
    assert {"dependency-groups", "build-system"}.isdisjoint(tomllib.loads(bundle["pyproject.toml"].decode()))


def test_the_icon_is_a_png_of_the_size_that_is_asked_for(bundle: dict[str, bytes], manifest: dict[str, Any]) -> None:
    icon = bundle[manifest["icon"]]

    assert icon.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", icon[16:24]) == (512, 512)


@pytest.mark.anyio
async def test_unpacked_it_serves_by_itself_what_the_manifest_tells_of(
    bundle: dict[str, bytes], manifest: dict[str, Any], tmp_path: Path
) -> None:
    """With this environment's Python in place of uv; another version tells that the unpacked files are what runs."""
    unpacked = tmp_path / "unpacked"
    changed = {**bundle, "kros_mcp/__init__.py": b'"""Unpacked."""\n\n__version__ = "9.9.9"\n'}
    unpack(changed, unpacked)
    krosai = Simulator(extra_keys={KEY: ("numbers:read",)})
    async with open_server(krosai) as base_url:
        env = environment_of(manifest, api_key=KEY, base_url=base_url, max_purchase="7")
        env |= {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
        started = StdioServerParameters(
            command=sys.executable, args=[str(unpacked / manifest["server"]["entry_point"])], env=env, cwd="/"
        )
        async with Client(started) as client:
            assert client.server_info is not None
            assert client.server_info.version == "9.9.9"
            told = [{"name": tool["name"], "description": tool["description"]} for tool in manifest["tools"]]
            listed = (await client.list_tools()).tools
            assert [{"name": tool.name, "description": tool.description} for tool in listed] == told
            prompts = (await client.list_prompts()).prompts
            assert [prompt.name for prompt in prompts] == [prompt["name"] for prompt in manifest["prompts"]]
            for prompt in manifest["prompts"]:
                [message] = (await client.get_prompt(prompt["name"], {})).messages
                assert message.content.type == "text"
                assert message.content.text == prompt["text"]
            spending = await client.call_tool("get_spending", {})
    assert spending.structured_content is not None
    assert spending.structured_content["max_purchase_cents"] == 700


@pytest.mark.anyio
async def test_with_the_simulator_switched_on_it_needs_no_key_and_says_what_it_is(
    bundle: dict[str, bytes], manifest: dict[str, Any], tmp_path: Path
) -> None:
    unpacked = tmp_path / "unpacked"
    unpack(bundle, unpacked)
    env = environment_of(manifest, simulator="true") | {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    started = StdioServerParameters(command=sys.executable, args=[str(unpacked / "main.py")], env=env, cwd="/")
    async with Client(started) as client:
        found = (await client.call_tool("search_phone_numbers", {"country": "NG"})).structured_content
        assert found is not None
        wish = {"inventory_id": found["numbers"][0]["inventory_id"], "country": "NG"}
        asked = (await client.call_tool("buy_phone_number", wish)).structured_content
    assert asked is not None
    assert asked["quote"]["environment"] == "simulator"
    assert os.listdir(tmp_path) == ["unpacked"]  # noqa: PTH208 - hidden ones too; its journal is in memory


def test_what_cannot_be_read_is_one_sentence_and_starts_nothing(
    manifest: dict[str, Any], bundle: dict[str, bytes], tmp_path: Path
) -> None:
    unpack(bundle, tmp_path)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "main.py")],
        env=environment_of(manifest, api_key=KEY, max_purchase="50.00"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert "Most for one number" in line
    assert "Correct it in the extension's form." in line


def test_a_publishers_privacy_policies_stand_in_the_manifest(command: Command, tmp_path: Path) -> None:
    path, policies = tmp_path / "kros.mcpb", ["https://publisher.example/privacy", "https://krosai.example/privacy"]
    named = [word for url in policies for word in ("--privacy-policy", url)]

    assert command("bundle", str(path), *named).code == 0
    with zipfile.ZipFile(path) as written:
        assert json.loads(written.read("manifest.json"))["privacy_policies"] == policies


@pytest.mark.parametrize("url", ["http://a.example/p", "a.example", "https://user@a.example/p", "javascript:alert(1)"])
def test_a_privacy_policy_is_an_https_address(command: Command, tmp_path: Path, url: str) -> None:
    assert command("bundle", str(tmp_path / "kros.mcpb"), "--privacy-policy", url).code == 2
    assert list(tmp_path.iterdir()) == []


def unpack(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_it_says_what_it_wrote_and_what_to_do_next(command: Command, tmp_path: Path, bundle: dict[str, bytes]) -> None:
    path = tmp_path / "kros.mcpb"

    ran = command("bundle", str(path))

    assert ran.code == 0
    assert str(path) in ran.out
    assert "double-click" in ran.out
    assert path.read_bytes() == packed(bundle)


def test_a_file_that_is_there_stays_unless_told(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "kros.mcpb"
    path.write_text("precious")

    assert command("bundle", str(path)).code == 1
    assert path.read_text() == "precious"
    assert command("bundle", str(path), "--force").code == 0
    assert zipfile.is_zipfile(path)
    assert os.listdir(tmp_path) == ["kros.mcpb"]  # noqa: PTH208 - hidden ones too


def test_what_cannot_be_replaced_leaves_nothing_half_written_beside_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "kros.mcpb").mkdir()

    assert command("bundle", str(tmp_path / "kros.mcpb"), "--force").code == 2
    assert os.listdir(tmp_path) == ["kros.mcpb"]  # noqa: PTH208 - hidden ones too


@pytest.mark.parametrize("name", ["kros.zip", "kros", "missing/kros.mcpb"])
def test_a_file_that_cannot_be_a_bundle_ends_with_two(command: Command, tmp_path: Path, name: str) -> None:
    assert command("bundle", str(tmp_path / name)).code == 2
    assert list(tmp_path.iterdir()) == []
