"""`kros-mcp bundle`: the form comes from the settings, and nothing is in the file but what runs."""

import io
import json
import os
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
from kros_mcp.commands.bundle import FORM, LEFT_OUT, contents, packed
from kros_mcp.commands.setting_fields import described
from kros_mcp.service_settings import ServiceSettings
from kros_mcp.settings import Settings, load_settings
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


def test_every_setting_of_the_stdio_server_is_asked_for_or_left_out_on_purpose() -> None:
    own = Settings.model_fields.keys() - ServiceSettings.model_fields.keys() - {"simulator"}

    assert described().keys() == own
    assert FORM.keys() | LEFT_OUT == own
    assert not FORM.keys() & LEFT_OUT


def test_every_line_of_the_form_reaches_its_setting(manifest: dict[str, Any]) -> None:
    assert manifest["server"]["mcp_config"]["env"] == {
        f"KROS_{name.upper()}": f"${{user_config.{name}}}" for name in FORM
    }
    assert list(manifest["user_config"]) == list(FORM)
    assert "numbers:write" in manifest["user_config"]["api_key"]["description"]
    assert "shows no prompts" in manifest["user_config"]["confirmation"]["description"]


def test_the_key_alone_is_required_and_kept_as_a_secret(manifest: dict[str, Any]) -> None:
    form = manifest["user_config"]

    assert [name for name, asked in form.items() if asked["required"]] == ["api_key"]
    assert [name for name, asked in form.items() if asked.get("sensitive")] == ["api_key"]
    assert "default" not in form["api_key"]


def test_amounts_are_numbers_that_say_they_are_cents(manifest: dict[str, Any]) -> None:
    amounts = {name: asked for name, asked in manifest["user_config"].items() if name.endswith("_cents")}

    assert amounts.keys() == {
        "max_purchase_cents",
        "daily_budget_cents",
        "monthly_commitment_cents",
        "approval_above_cents",
    }
    for asked in amounts.values():
        assert (asked["type"], asked["min"]) == ("number", 0)
        assert "(cents)" in asked["title"]
        assert "5000 for 50.00" in asked["description"]
    assert amounts["max_purchase_cents"]["default"] == Settings.model_fields["max_purchase_cents"].default


def test_a_form_that_is_left_as_it_is_means_the_defaults(
    manifest: dict[str, Any], environment: pytest.MonkeyPatch
) -> None:
    """Claude Desktop leaves the placeholder where nothing was filled in and there is no default."""
    environment.delenv("KROS_JOURNAL_URL")
    for variable, value in environment_of(manifest, api_key=KEY).items():
        environment.setenv(variable, value)

    assert load_settings().model_dump(exclude={"api_key"}) == Settings.model_construct().model_dump(exclude={"api_key"})


def test_a_form_that_is_filled_in_is_what_holds(manifest: dict[str, Any], environment: pytest.MonkeyPatch) -> None:
    filled = environment_of(
        manifest,
        api_key=KEY,
        read_only="true",
        max_purchase_cents="700",
        approval_above_cents="600",
        allowed_countries="NG, KE",
        confirmation="approver",
    )
    for variable, value in filled.items():
        environment.setenv(variable, value)

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

    beside = {"manifest.json", "pyproject.toml", "main.py", "icon.png", "README.md", "LICENSE"}
    assert bundle.keys() == {*listed.stdout.split(), *beside}
    assert bundle["README.md"] == (ROOT / "README.md").read_bytes()


def test_what_lies_about_in_a_clone_does_not_come_along(bundle: dict[str, bytes], tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "kros_mcp", clone / "kros_mcp")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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
        env = environment_of(manifest, api_key=KEY, base_url=base_url, max_purchase_cents="700")
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
