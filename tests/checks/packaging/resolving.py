"""Whether everything has a wheel, on the Pythons and platforms that uv may choose; asked, and nothing installed."""

import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from pathlib import Path

from tests.checks.packaging.checks import require
from tests.checks.packaging.environments import uv

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
_AT_ONCE = 4
_LAST_CHARACTERS = 600


def check_wheels(project: Path) -> None:
    """Check that the extras and the tools of the tests resolve to wheels alone, everywhere.

    What is needed without extras is among it.

    Raises:
        CheckError: Something has no wheel somewhere; every such place is named.
    """
    asked = "\n".join(_requirements(project))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(pool.map(lambda place: _missing(asked, *place), product(PYTHONS, PLATFORMS)))
    missing = [one for one in told if one]
    require(not missing, "\n".join(missing))


def _requirements(project: Path) -> Iterator[str]:
    """List what `uv sync` installs; uv pip compile would look for our own name in a registry."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))
    about = table["project"]
    lists = (about["dependencies"], *about["optional-dependencies"].values(), table["dependency-groups"]["dev"])
    for one in chain(*lists):
        if not one.startswith(about["name"]):
            yield one


def _missing(asked: str, python: str, platform: str) -> str | None:
    where = ("--python-version", python, "--python-platform", platform)
    try:
        uv("pip", "compile", "--quiet", "--no-python-downloads", "--only-binary", ":all:", *where, "-", told=asked)
    except subprocess.CalledProcessError as exc:
        return f"Python {python} on {platform}: {exc.stderr.strip()[-_LAST_CHARACTERS:]}"
    return None
