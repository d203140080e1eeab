"""What the installed package does where nothing else is: no clone, no development dependency, no settings."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

from kros_mcp.errors import GET_EXTRAS
from tests.checks.packaging.checks import require
from tests.checks.packaging.environments import Environment, uv

HELD = "Every claim above was checked against the simulator, and held."
_SERVING = re.compile(r"serving (http://127\.0\.0\.1:\d+)/mcp")
_START_SECONDS = 60
_TYPED = """\
from kros_mcp import __version__
from kros_mcp.server import build_server
from kros_mcp.settings import load_settings

reveal_type(__version__)
reveal_type(build_server(load_settings(simulator=True)))
"""


def check_words(environment: Environment, version: str) -> None:
    """Check `--version`, `--help`, and that the package is the installed one."""
    told = environment.run(environment.command("--version"))
    require(told.stdout == f"kros-mcp {version}\n", f"--version says {told.stdout!r} and {told.stderr!r}")
    told = environment.run(environment.command("--help"))
    require(told.returncode == 0 and "Usage: kros-mcp" in told.stdout, f"--help says {told.stderr!r}")
    where = environment.run([str(environment.python), "-c", "import kros_mcp; print(kros_mcp.__file__)"]).stdout
    require(str(environment.folder) in where, f"the package comes from {where}, not from the environment")


def check_doctor(environment: Environment) -> None:
    """Check that the doctor says which setting is missing, and ends with the exit code of settings."""
    told = environment.run(environment.command("doctor"))
    require(told.returncode == 2, f"doctor without a key ends with {told.returncode}, not 2: {told.stderr}")
    require("KROS_API_KEY" in told.stdout, f"doctor does not name the missing key: {told.stdout}")
    require("Traceback" not in told.stderr, f"doctor breaks: {told.stderr}")


def check_demo(environment: Environment, encoding: str | None = None) -> None:
    """Check that the demo holds every claim; with `encoding`, on a terminal that can show nothing else."""
    settings = {"LC_ALL": "C", "PYTHONIOENCODING": encoding} if encoding else {}
    told = environment.run(environment.command("demo"), settings)
    require(told.returncode == 0 and HELD in told.stdout, f"the demo ends with {told.returncode}: {told.stderr}")


def check_without_http(environment: Environment) -> None:
    """Check that the service says which extra it needs and how to get it."""
    told = environment.run(environment.command("http", "--simulator", "--no-auth"))
    require(told.returncode == 2, f"http without its extra ends with {told.returncode}, not 2: {told.stderr}")
    lines = told.stderr.strip().splitlines()
    require(len(lines) == 1 and "kros-mcp[http]" in lines[0], f"http without its extra says {told.stderr}")
    require(GET_EXTRAS in lines[0], f"http without its extra does not say how to get it: {lines[0]}")


def check_http(environment: Environment) -> None:
    """Check that the service answers /healthz at a free port, and stops when told to."""
    process = subprocess.Popen(
        environment.command("http", "--simulator", "--no-auth", "--port", "0"),
        cwd=environment.home,
        env=environment.settings(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = _url_of(process)
        with urllib.request.urlopen(f"{url}/healthz", timeout=_START_SECONDS) as answer:  # noqa: S310 - our own
            require(answer.status == 200, f"/healthz answers {answer.status}")
            json.load(answer)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_START_SECONDS)
        require(process.returncode == 0, f"the service ends with {process.returncode} when told to stop")
    finally:
        process.kill()
        process.communicate()


def _url_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if found := _SERVING.search(line):
            return found[1]
        said.append(line)
    raise ValueError(f"the service did not start: {''.join(said)}")


def check_types(wheel: Path, folder: Path) -> None:
    """Check that mypy sees the types of the installed package, in a strict program of somebody else's."""
    program = folder / "consumer.py"
    program.write_text(_TYPED)
    needed = ("--with", "mypy", "--with", str(wheel))
    told = uv("run", "--isolated", "--no-project", "--quiet", *needed, "mypy", "--strict", program, cwd=folder)
    types = re.findall(r'Revealed type is "(.*)"', told)
    require(types[:1] == ["str"] or types[:1] == ["builtins.str"], f"mypy takes __version__ for {types[:1]}")
    require(len(types) == 2 and "Any" not in types[1].split("[")[0], f"mypy takes the server for {types[1:]}")


def check_uvx(wheel: Path, folder: Path) -> None:
    """Check the line of CONTRIBUTING that tries the built wheel without installing it."""
    told = uv("tool", "run", "--isolated", "--quiet", "--from", wheel, "kros-mcp", "demo", cwd=folder)
    require(HELD in told, f"the demo under uvx says {os.linesep.join(told.splitlines()[-5:])}")
