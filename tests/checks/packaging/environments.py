"""Clean environments with nothing but what was built in them, and commands run there as a stranger would."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 300


def uv(*arguments: str | Path, cwd: Path | None = None, told: str = "") -> str:
    """Run uv, with `told` as its standard input; answers what it wrote to stdout.

    Raises:
        CalledProcessError: It failed; stdout and stderr stand in the error.
    """
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = ["uv", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        input=told,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=True,
    )
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own; its commands see neither the clone nor this process's settings."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def home(self) -> Path:
        """Where commands run, and what they take for the home folder."""
        return self.folder / "elsewhere"

    def install(self, *what: str | Path) -> None:
        """Install into it, as `uv pip install` takes it; never editable."""
        uv("pip", "install", "--quiet", "--python", self.python, *what, cwd=self.home)

    def settings(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables its commands get: a path, a home, and those named here."""
        return {"PATH": os.defpath, "HOME": str(self.home), "NO_PROXY": "127.0.0.1", **(more or {})}

    def command(self, *arguments: str) -> list[str]:
        """The installed command, which is what the wheel's entry point became."""
        return [str(self.folder / "bin" / "kros-mcp"), *arguments]

    def run(self, command: Sequence[str], more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, wherever that leads; output is read as UTF-8, and what is none is shown so."""
        return subprocess.run(
            command,
            cwd=self.home,
            env=self.settings(more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_PATIENCE_SECONDS,
            check=False,
        )


def make_environment(folder: Path, python: str | Path) -> Environment:
    """Make an empty environment for one interpreter."""
    uv("venv", "--quiet", "--python", python, folder)
    environment = Environment(folder)
    environment.home.mkdir()
    return environment


def interpreter(version: str) -> str | None:
    """Find an interpreter of this minor version, such as 3.13, on the path or among pyenv's; never fetches one."""
    # Where pyenv is, its shim of a version that is not chosen stands in uv's way and answers nothing but an error.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    asked = ["uv", "python", "find", "--no-python-downloads", "--no-project", version]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    candidates = sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
    return str(candidates[-1]) if candidates else None
