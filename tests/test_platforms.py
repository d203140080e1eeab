"""What runs on Windows as well, as far as Linux can tell: what is not there is named nowhere that people get to."""

import subprocess
import sys
from pathlib import Path

_AS_ON_WINDOWS = """\
import importlib, os, pkgutil, shutil, signal, sys, time
import kros_mcp

def load():
    for module in pkgutil.walk_packages(kros_mcp.__path__, "kros_mcp."):
        if module.name != "kros_mcp.__main__":
            importlib.import_module(module.name)

load()  # with the packages of others, which have chosen their own code for this platform
for name in [name for name in sys.modules if name.split(".")[0] == "kros_mcp"]:
    del sys.modules[name]
for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for holder, names in {
    os: "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK chown fchown fork getegid geteuid getgid getuid killpg "
        "mkfifo setsid statvfs sysconf waitid",
    signal: "SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 alarm pause pthread_sigmask",
    time: "CLOCK_BOOTTIME CLOCK_MONOTONIC clock_gettime tzset",
}.items():
    for name in names.split():
        delattr(holder, name)
sys.platform = "win32"
load()
from kros_mcp.cli import main; main(sys.argv[1:])
"""


def test_every_module_loads_without_what_windows_lacks_and_a_token_is_made(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _AS_ON_WINDOWS, "token", "desk", "--scopes", "read"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "KROS_TOKENS_FILE": str(tmp_path / "tokens.toml")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0
    assert "[tokens.desk]" in (tmp_path / "tokens.toml").read_text()
