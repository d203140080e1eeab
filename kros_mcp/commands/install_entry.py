"""How a client starts this very kros-mcp: the entry that goes into its configuration."""

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from kros_mcp.commands.install_secrets import API_KEY, JOURNAL, PROXIES
from kros_mcp.commands.setting_fields import described
from kros_mcp.errors import KrosError
from kros_mcp.journals.sqlite_file import journal_path
from kros_mcp.settings import MEMORY, PREFIX, SECRET_FILES, default_journal_path, is_postgres, is_unset

REPLACED_BY_THE_SIMULATOR = frozenset({API_KEY, "KROS_BASE_URL", "KROS_ORGANIZATION_ID", JOURNAL})
_PROXY_VARIABLES = (*PROXIES, "NO_PROXY")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_BESIDE_A_DISPLAY = ("XAUTHORITY", "XDG_RUNTIME_DIR", "BROWSER")
"""What a browser needs to reach the display: X's key, the folder of Wayland's socket; and which browser to start."""
_ANSWER_WITHIN = "KROS_ANSWER_WITHIN_SECONDS"
_LONGEST_ANSWER_SECONDS = "45"
"""Every client here allows a call a minute or more, so that it can wait for a person who reads a page. A read that
KrosAI does not answer is given up after as long, so it is no longer where a client allows more."""
_SCHEMES: tuple[Literal["prefix", "user"], ...] = ("prefix", "user")
_CACHE_MARK = "CACHEDIR.TAG"


def entry(environment: Mapping[str, str], *, simulator: bool) -> dict[str, Any]:
    """Return the entry: absolute paths, every setting that the terminal has, and its proxies and certificates.

    Args:
        environment: The terminal's variables, found usable before.
        simulator: KrosAI is replaced by the simulator.

    Raises:
        KrosError: This kros-mcp will not be where it is now for long.
    """
    return {
        "command": str(executable(Path(sys.prefix), _programs())),
        "args": ["--simulator"] if simulator else [],
        "env": settings_to_keep(environment, simulator=simulator),
    }


def _programs() -> list[Path]:
    """The folders that programs are installed into: the environment's, and the person's own."""
    return [Path(sysconfig.get_path("scripts", scheme)) for scheme in map(sysconfig.get_preferred_scheme, _SCHEMES)]


def executable(prefix: Path, folders: Iterable[Path]) -> Path:
    """Return the program of this kros-mcp, in a place where it will stay.

    Args:
        prefix: The environment that runs.
        folders: Where its program may be; the first that holds it counts.

    Raises:
        KrosError: It lies in a cache, which is emptied some day, or is not installed.
    """
    if any((folder / _CACHE_MARK).exists() for folder in prefix.parents):
        raise KrosError(
            "This kros-mcp runs out of a cache (as uvx and uv run --isolated do), where it will not stay.",
            code="NOT_INSTALLED",
            next_step="Install it, then run this again: uv tool install . in a clone, or the wheel.",
        )
    named = [folder / name for folder in folders for name in ("kros-mcp", "kros-mcp.exe")]
    found = next((path for path in named if path.is_file()), None)
    if found is None:
        raise KrosError(
            f"There is no program kros-mcp in {named[0].parent}, so that no client could start it.",
            code="NOT_INSTALLED",
            next_step="Install it, then run this again: uv tool install . in a clone, or the wheel.",
        )
    return found.absolute()


def settings_to_keep(environment: Mapping[str, str], *, simulator: bool) -> dict[str, str]:
    """Return the settings of the stdio server that are set, since a cap that got lost would be no cap; and the display.

    Not every client hands them on by itself. A call may take longer there than elsewhere, unless a setting says how
    long.
    """
    given = {name.upper(): value for name, value in environment.items() if not is_unset(value)}
    wanted = [field.variable for field in described().values()]
    picked = {
        name: given[name] for name in wanted if name in given and not (simulator and name in REPLACED_BY_THE_SIMULATOR)
    }
    picked |= {
        variable: _absolute(given[variable])
        for variable, setting in SECRET_FILES.items()
        if variable in given and setting in wanted and not (simulator and setting in REPLACED_BY_THE_SIMULATOR)
    }
    if JOURNAL in picked:
        picked[JOURNAL] = _from_anywhere(picked[JOURNAL])
    elif f"{JOURNAL}_FILE" not in picked and "XDG_STATE_HOME" in environment and not simulator:
        # A client may not have that variable: another journal would be another budget.
        picked[JOURNAL] = _from_anywhere(f"sqlite:///{default_journal_path()}")
    picked.setdefault(_ANSWER_WITHIN, _LONGEST_ANSWER_SECONDS)
    picked |= _display_variables(environment)
    return picked if simulator else picked | _network_variables(environment)


def _display_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a browser needs that the server starts, for the page that asks; nothing where there is no display."""
    if not any(environment.get(name) for name in _DISPLAYS):
        return {}
    return {name: value for name in (*_DISPLAYS, *_BESIDE_A_DISPLAY) if (value := environment.get(name))}


def _network_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of proxies and certificate authorities, which a client may not have itself."""
    proxies = {name: value for name, value in environment.items() if name.upper() in _PROXY_VARIABLES and value.strip()}
    file, folders = (environment.get(name, "") for name in _AUTHORITIES)
    absolute = _absolute(file) if file else "", os.pathsep.join(map(_absolute, filter(None, folders.split(os.pathsep))))
    return proxies | {name: value for name, value in zip(_AUTHORITIES, absolute, strict=True) if value}


def left_out(environment: Mapping[str, str], entry_env: Mapping[str, str]) -> list[str]:
    """Return the settings that are set here and that the stdio server does not read."""
    given = {name.upper() for name, value in environment.items() if not is_unset(value)}
    return sorted(name for name in given if name.startswith(PREFIX) and name not in entry_env)


def is_ours(found: object) -> bool:
    """Whether an entry starts some kros-mcp: its program, or uv or Python with its name."""
    if not isinstance(found, dict) or not isinstance(found.get("command"), str):
        return False
    arguments = found.get("args")
    words = [word for word in arguments if isinstance(word, str)] if isinstance(arguments, list) else []
    program = found["command"].replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".exe")
    return program == "kros-mcp" or bool({"kros-mcp", "kros_mcp"} & set(words))


def is_installed(found: Mapping[str, Any] | None) -> bool:
    """Whether an entry of ours is one that was put in here, and not by hand: all of those say how long a call takes."""
    env = (found or {}).get("env")
    return isinstance(env, dict) and _ANSWER_WITHIN in env


def _from_anywhere(url: str) -> str:
    """Return the journal's URL with an absolute path: a client may start the server in any folder."""
    path = None if is_postgres(url) or url == MEMORY else journal_path(url)
    return url if path is None else f"sqlite:///{_absolute(path)}"


def _absolute(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links stay as they are
