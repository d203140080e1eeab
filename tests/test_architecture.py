"""The house of the project: imports point down and in no circle, and start-up stays light."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kros_mcp"
FLOORS = [
    (
        "kros_mcp.characters",
        "kros_mcp.errors",
        "kros_mcp.settings",
        "kros_mcp.service_settings",
        "kros_mcp.numbering",
        "kros_mcp.cities",
        "kros_mcp.money",
        "kros_mcp.times",
        "kros_mcp.telemetry",
        "kros_mcp.telemetry_export",
        "kros_mcp",
    ),
    ("kros_mcp.krosai",),
    ("kros_mcp.operations",),
    ("kros_mcp.journals",),
    ("kros_mcp.notifying",),
    ("kros_mcp.tools",),
    ("kros_mcp.server", "kros_mcp.runtime", "kros_mcp.organizations", "kros_mcp.stdio", "kros_mcp.jsonrpc"),
    ("kros_mcp.pages", "kros_mcp.browser"),
    ("kros_mcp.http",),
    ("kros_mcp.cli", "kros_mcp.__main__", "kros_mcp.commands"),
]
MAY_USE_THE_SIMULATOR = {"kros_mcp.runtime", "kros_mcp.cli", "kros_mcp.commands"}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names.update(name if name in modules() else str(node.module) for name in inner)
    return {name for name in names if name.split(".")[0] == "kros_mcp"}


def room(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else name


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(name) in rooms)


@pytest.mark.parametrize("name", [name for name in modules() if room(name) != "kros_mcp.simulator"])
def test_imports_point_down(name: str) -> None:
    for target in imports_of(modules()[name]):
        if room(target) == "kros_mcp.simulator":
            assert room(name) in MAY_USE_THE_SIMULATOR, f"{name} imports the simulator"
        else:
            assert floor(target) <= floor(name), f"{name} imports {target}, which stands above it"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions and those for types alone count: they tie files together as much."""
    TopologicalSorter({name: imports_of(path) for name, path in modules().items()}).prepare()


def test_the_krosai_client_is_imported_by_its_face() -> None:
    """`transport` loads httpx and so stands apart; `wire` is imported whole, beside shapes of the same meaning."""
    allowed = {"kros_mcp.krosai", "kros_mcp.krosai.transport", "kros_mcp.krosai.wire"}
    known = modules()
    for name, path in known.items():
        if room(name) != "kros_mcp.krosai":
            inner = {found for found in imports_of(path) if room(found) == "kros_mcp.krosai"}
            assert inner <= allowed, name


def test_the_simulator_imports_nothing_of_ours() -> None:
    for name, path in modules().items():
        if room(name) == "kros_mcp.simulator":
            assert {room(imported) for imported in imports_of(path)} <= {"kros_mcp.simulator", "kros_mcp"}


def test_nothing_but_its_own_command_imports_what_a_rehearsal_sends_with() -> None:
    """No tool may reach a sender that asks neither the journal nor a channel for a person's yes."""
    known = modules()
    rehearsal = {name for name in known if name.startswith("kros_mcp.commands.rehears")}
    record = "kros_mcp.commands.rehearsal_record"
    for name, path in known.items():
        found = {each for each in imports_of(path) if each in rehearsal}
        assert name in rehearsal or found <= ({record} if name == "kros_mcp.commands.doctor" else set()), name
    assert "kros_mcp.commands.rehearse" in rehearsal


def test_what_is_heavy_is_not_loaded_before_it_is_needed() -> None:
    program = (
        "import sys; import kros_mcp.cli; from kros_mcp.server import build_server; "
        "import kros_mcp.browser.browser_screen; "
        "from kros_mcp.settings import Settings; build_server(Settings()); "
        "print([name for name in ('httpx', 'phonenumbers', 'country_list', 'platformdirs', 'jinja2', 'rich', "
        "'apprise', 'opentelemetry.metrics', 'opentelemetry.sdk', 'psycopg', 'kros_mcp.http', 'kros_mcp.pages', "
        "'webbrowser', 'tomlkit', 'pygal', "
        "'kros_mcp.simulator') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_parsing_the_command_line_loads_no_sdk() -> None:
    program = "import sys; import kros_mcp.cli; print('mcp' in sys.modules, 'pydantic' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False False"


def test_no_lock_file_of_a_machines_registry_is_tracked() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode != 0:
        pytest.fail("this test reads the files that git tracks, so it needs the repository")
    assert not {"uv.lock", "package-lock.json"} & set(tracked.stdout.split())


def test_every_promise_of_the_guard_has_a_test() -> None:
    tests = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    assert {int(number) for number in re.findall(r"^@pytest\.mark\.promise\((\d+)\)$", tests, re.MULTILINE)} == set(
        range(1, 15)
    )
