"""Opens an address in the person's browser, by Python's `webbrowser` in a process that has no part in ours.

That process has no terminal, no stdin and no stdout: whatever it starts can neither read nor write the protocol, nor
ask in a terminal. It receives the address by stdin, so that only the browser's own command line shows it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from kros_mcp.settings import PREFIX

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
_PROGRAM = (
    "import os, sys, webbrowser\n"
    "address = sys.stdin.readline().strip()\n"
    "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n"
    "webbrowser.open(address, new=2)\n"
)


def may_open(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser could be opened: on macOS and Windows always, elsewhere where there is a display.

    Args:
        environment: The variables of this process.
        platform: As `sys.platform` has it.
    """
    if platform in {"darwin", "win32", "cygwin"}:
        return True
    return any(environment.get(name, "").strip() for name in _DISPLAYS)


def browser_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a browser is started with: none of our settings, and no terminal, for which text browsers look."""
    return {
        name: value for name, value in environment.items() if name != "TERM" and not name.upper().startswith(PREFIX)
    }


def launch(address: str) -> "subprocess.Popen[bytes] | None":
    """Start the person's browser at an address; None if nothing can be started.

    What it returns says nothing of success: only a fetch does.
    """
    if not sys.executable:
        return None
    try:
        process = subprocess.Popen(  # noqa: S603 - our own Python, with a program that stands above
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=browser_environment(os.environ),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError:
        return None
    if process.stdin is not None:
        with suppress(OSError), process.stdin:  # it may have ended already
            process.stdin.write(address.encode() + b"\n")
    return process


def forget(process: "subprocess.Popen[bytes]") -> None:
    """End the process that started a browser, which stays open."""
    if process.poll() is None:
        process.kill()
    process.wait()
