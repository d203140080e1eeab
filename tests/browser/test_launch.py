"""How a browser is started: apart from the protocol's pipes, and what Python's webbrowser does where we do not run."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
from screen_bench import open_screen_bench

from kros_mcp.browser import launch, peer
from kros_mcp.browser.peer import is_another_users
from kros_mcp.operations.model import State
from tests.support import hand

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("platform", "environment", "may"),
    [
        ("linux", {}, False),
        ("linux", {"TERM": "xterm", "PATH": "/usr/bin"}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "wslview"}, True),
        ("freebsd14", {}, False),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_where_there_is_no_display_nothing_is_started(platform: str, environment: dict[str, str], *, may: bool) -> None:
    assert launch.may_open(environment, platform) is may


def test_a_browser_is_given_no_setting_of_ours_and_no_terminal() -> None:
    given = {"KROS_API_KEY": "canary", "kros_x": "1", "TERM": "xterm", "DISPLAY": ":0", "HOME": "/home/ada"}
    assert launch.browser_environment(given) == {"DISPLAY": ":0", "HOME": "/home/ada"}


def test_what_is_started_has_no_part_in_our_pipes_and_no_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told, program = tmp_path / "told", tmp_path / "browser.py"
    program.write_text(
        "import os, sys\n"
        "try:\n    os.open('/dev/tty', os.O_RDWR); tty = 'a terminal'\nexcept OSError:\n    tty = 'no terminal'\n"
        "pipes = [os.readlink(f'/proc/self/fd/{number}') for number in (1, 2)]\n"
        "parent = open(f'/proc/{os.getppid()}/cmdline').read()\n"
        "seen = [sys.argv[1], tty, sys.stdin.read(), os.environ.get('KROS_API_KEY', '-'), *pipes, parent]\n"
        f"open({str(told)!r}, 'w').write('|'.join(seen))\n"
    )
    monkeypatch.setenv("BROWSER", f"{sys.executable} {program} %s")
    monkeypatch.setenv("KROS_API_KEY", "canary")
    process = launch.launch("http://127.0.0.1:1/open/secret")
    assert process is not None
    assert process.wait(20) == 0

    address, tty, heard, key, out, err, parent = told.read_text().split("|")
    assert (address, tty, heard, key) == ("http://127.0.0.1:1/open/secret", "no terminal", "", "-")
    assert (out, err) == ("/dev/null", "/dev/null")
    assert "secret" not in parent
    assert str(os.getpid()) not in parent


@pytest.mark.parametrize("where", ["darwin", "win32"])
def test_elsewhere_webbrowser_hands_the_address_to_the_system(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Not run there: this holds what Python's own module does, with the system's parts replaced."""
    handed: list[str] = []

    class Pipe:
        def write(self, script: str) -> None:
            handed.append(script)

        def close(self) -> None:
            return None

    class Popen:
        returncode, args = 0, ()

        def __init__(self, words: Any, **_: Any) -> None:
            handed.extend(map(str, words))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def communicate(self, script: Any = None, **_: Any) -> tuple[None, None]:
            handed.append(str(script))
            return None, None

        def poll(self) -> int:
            return 0

        def wait(self, *_: Any) -> int:
            return 0

    spec = importlib.util.find_spec("webbrowser")
    assert spec is not None
    assert spec.loader is not None
    elsewhere = importlib.util.module_from_spec(spec)  # one of its own, as on another system
    monkeypatch.delenv("BROWSER", raising=False)
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", where)
        there.setattr(os, "startfile", handed.append, raising=False)
        there.setattr(os, "popen", lambda *_: Pipe())
        there.setattr(subprocess, "Popen", Popen)
        there.setattr(shutil, "which", lambda *_, **__: None)
        spec.loader.exec_module(elsewhere)
        elsewhere.open("http://127.0.0.1:1/open/x", new=2)
    assert any("http://127.0.0.1:1/open/x" in one for one in handed)
    # Before Python 3.15 a script of AppleScript's, as of 3.15 the system's `open`.
    programs = {"osascript", "/usr/bin/open", "None"}
    assert all("open location" in one or one in {"http://127.0.0.1:1/open/x", *programs} for one in handed)


def test_the_kernels_tables_tell_another_users_connection(tmp_path: Path) -> None:
    """A socket of IPv6 can connect to IPv4, and stands in the other table then."""
    four, six = tmp_path / "tcp", tmp_path / "tcp6"
    row = (
        "   1: {0}0100007F:C350 {0}0100007F:1F90 01 00000000:00000000 00:00000000 00000000  {1}        0 4242 1 0 20\n"
    )
    client, server = ("127.0.0.1", 50_000), ("127.0.0.1", 8080)
    for table, mapped in ((four, ""), (six, "0000000000000000FFFF0000")):
        for uid, another in ((os.getuid(), False), (0, False), (4242, True)):
            table.write_text("  sl  local_address rem_address   st\n" + row.format(mapped, uid))
            assert is_another_users(client, server, (four, six)) is another
        assert not is_another_users(("127.0.0.1", 1), server, (four, six))
        table.unlink()
    assert not is_another_users(client, server, (four, six))


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_the_kernel_tells_whose_connection_it_is_however_it_was_made(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, address: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(family) as visitor:
        visitor.connect((address, listener.getsockname()[1]))
        accepted, client = listener.accept()
        with accepted:
            assert not is_another_users(client, listener.getsockname())
            monkeypatch.setattr(os, "getuid", lambda: 4242)
            monkeypatch.setattr(peer, "_ROOT", -1)
            assert is_another_users(client, listener.getsockname())


@pytest.mark.parametrize(
    ("does", "state"), [("yes", State.DONE), ("no", State.DECLINED), ("close", State.PROPOSED), ("ignore", None)]
)
async def test_a_scripted_hand_answers_as_a_browser(
    monkeypatch: pytest.MonkeyPatch, does: str, state: State | None
) -> None:
    started, ended = launch.launch, launch.forget
    async with open_screen_bench(monkeypatch, clock=anyio.current_time) as bench:
        monkeypatch.setattr(launch, "launch", started)
        monkeypatch.setattr(launch, "forget", ended)
        monkeypatch.setenv("BROWSER", hand.as_browser())
        monkeypatch.setenv("HAND", does)
        monkeypatch.setattr("kros_mcp.browser.browser_screen.FETCH_SECONDS", 0.5 if does == "ignore" else 20.0)
        operation = await bench.release()

        assert await bench.screen.show(operation) is (state is not None)

        with anyio.fail_after(20):
            while state is not None and (await bench.stored(operation)).state is not state:
                pass
        assert (await bench.stored(operation)).state is (state or State.PROPOSED)
