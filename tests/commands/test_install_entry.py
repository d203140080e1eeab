"""Where Claude Desktop's file is on systems that this is not, and which program and entry are ours."""

from pathlib import Path
from typing import Any

import pytest

from kros_mcp.commands.install_clients import CLIENTS
from kros_mcp.commands.install_entry import executable, is_ours
from kros_mcp.errors import KrosError

FILE = "claude_desktop_config.json"
PACKAGED = ("Packages", "Claude_pzs8sxrjxfjjc", "LocalCache", "Roaming", "Claude")


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("darwin", {}, f"/home/of/Library/Application Support/Claude/{FILE}"),
        ("darwin", {"XDG_CONFIG_HOME": "/xdg"}, f"/home/of/Library/Application Support/Claude/{FILE}"),
        ("linux", {}, f"/home/of/.config/Claude/{FILE}"),
        ("linux", {"XDG_CONFIG_HOME": "/xdg"}, f"/xdg/Claude/{FILE}"),
        ("linux", {"XDG_CONFIG_HOME": "not/absolute"}, f"/home/of/.config/Claude/{FILE}"),
        ("freebsd14", {}, f"/home/of/.config/Claude/{FILE}"),
        ("win32", {}, f"/home/of/AppData/Roaming/Claude/{FILE}"),
        ("win32", {"APPDATA": "/profiles/roaming"}, f"/profiles/roaming/Claude/{FILE}"),
    ],
)
def test_each_system_has_its_place(platform: str, environment: dict[str, str], expected: str) -> None:
    assert CLIENTS["claude-desktop"].find(platform, Path("/home/of"), environment) == Path(expected)


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose packaged Claude Desktop has started once."""
    made(tmp_path.joinpath("Local", *PACKAGED, "logs", "main.log"))
    return {"APPDATA": str(tmp_path / "Roaming"), "LOCALAPPDATA": str(tmp_path / "Local")}


def test_the_packaged_program_has_a_place_of_its_own(tmp_path: Path, windows: dict[str, str]) -> None:
    assert CLIENTS["claude-desktop"].find("win32", tmp_path, windows) == tmp_path.joinpath("Local", *PACKAGED, FILE)


def test_the_packaged_programs_file_goes_before_one_that_an_older_program_left(
    tmp_path: Path, windows: dict[str, str]
) -> None:
    made(tmp_path / "Roaming" / "Claude" / FILE)
    packaged = tmp_path.joinpath("Local", *PACKAGED, FILE)
    packaged.touch()

    assert CLIENTS["claude-desktop"].find("win32", tmp_path, windows) == packaged


def test_a_file_in_the_common_place_is_not_hidden_by_a_new_one(tmp_path: Path, windows: dict[str, str]) -> None:
    common = made(tmp_path / "Roaming" / "Claude" / FILE)

    assert CLIENTS["claude-desktop"].find("win32", tmp_path, windows) == common


def test_a_program_in_a_cache_is_not_named_since_it_will_not_stay(tmp_path: Path) -> None:
    scripts = made(tmp_path / "cache" / "archive-v0" / "abc" / "bin" / "kros-mcp").parent
    made(tmp_path / "cache" / "archive-v0" / "abc" / "lib" / "CACHEDIR.TAG")
    assert executable(scripts.parent, [tmp_path, scripts]) == scripts / "kros-mcp"

    (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    with pytest.raises(KrosError, match="runs out of a cache"):
        executable(scripts.parent, [tmp_path, scripts])


def test_the_mark_that_uv_puts_into_every_environment_makes_it_no_cache(tmp_path: Path) -> None:
    scripts = made(tmp_path / ".venv" / "Scripts" / "kros-mcp.exe").parent
    (tmp_path / ".venv" / "CACHEDIR.TAG").touch()

    assert executable(tmp_path / ".venv", [scripts]) == scripts / "kros-mcp.exe"


def test_without_an_installed_program_there_is_nothing_to_name(tmp_path: Path) -> None:
    with pytest.raises(KrosError, match="no program kros-mcp"):
        executable(tmp_path, [tmp_path / "bin"])


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"command": "/src/kros-mcp/.venv/bin/kros-mcp", "args": []}, True),
        ({"command": r"C:\src\.venv\Scripts\kros-mcp.exe"}, True),
        ({"command": "uvx", "args": ["kros-mcp"]}, True),
        ({"command": "/bin/uv", "args": ["run", "--directory", "/src", "kros-mcp", "--simulator"]}, True),
        ({"command": "python3", "args": ["-m", "kros_mcp"]}, True),
        ({"command": "npx", "args": ["files", "/src/kros-mcp"]}, False),
        ({"command": "kros-mcp-proxy"}, False),
        ({"command": "npx", "args": "kros-mcp"}, False),
        ({"args": ["kros-mcp"]}, False),
        ("kros-mcp", False),
    ],
)
def test_an_entry_is_ours_when_it_starts_kros_mcp(entry: Any, *, ours: bool) -> None:
    assert is_ours(entry) is ours
