"""What must be in a wheel and in a source distribution, and what must not."""

import email.message
import email.parser
import email.policy
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tests.checks.packaging.checks import require

SHIPPED_FOLDERS = ("deploy", "docs", "kros_mcp", "tests")
SHIPPED_FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml", "server.json")
ALSO_IN_THE_WHEEL = {"docs/privacy.md": "kros_mcp/privacy.md"}
"""Files from outside the package that come along in it."""
ADDED_BY_HATCHLING = (".gitignore", "PKG-INFO")
EXTRAS = {"all", "http", "notify", "otel", "postgres", "socks"}
PYTHONS = ">=3.11"

# Planted beside the sources before anything is built: what a working clone collects and nobody may be given.
STRAYS = (
    ".env",
    "kros_mcp/.env",
    "kros_mcp/journal.sqlite3",
    "kros_mcp/journal.sqlite3-journal",
    "kros_mcp/__pycache__/stray.cpython-311.pyc",
    "tests/.env",
    "tests/journal.sqlite3",
    "tests/checks/node/node_modules/stray/index.js",
    "tests/checks/node/package-lock.json",
    "pictures/stray.png",
    "dist/stray.whl",
    "deploy/secrets/api-key.txt",
    "deploy/tokens/tokens.toml",
    "uv.lock",
)


def check_wheel(wheel: Path, tracked: Iterable[str], version: str) -> None:
    """Check a wheel's files, entry point and metadata.

    Args:
        wheel: The built file.
        tracked: The project's files, as paths from its root.
        version: What the package says of itself.

    Raises:
        CheckError: Something is missing, or is in it that must not be.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"kros_mcp-{version}.dist-info"
        placed = {ALSO_IN_THE_WHEEL.get(name, name) for name in tracked}
        own = {name for name in placed if name.startswith("kros_mcp/")}
        about = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
        _same(set(names), own | about, wheel.name)
        require("kros_mcp/py.typed" in names, "py.typed is not in the wheel, so nobody sees its types")
        entry = archive.read(f"{info}/entry_points.txt").decode()
        require("kros-mcp = kros_mcp.cli:main" in entry, f"the wheel has no command kros-mcp: {entry}")
        require("Tag: py3-none-any" in archive.read(f"{info}/WHEEL").decode(), "the wheel is not for every Python 3")
        _check_metadata(_parsed(archive.read(f"{info}/METADATA")), version)


def check_sdist(sdist: Path, tracked: Iterable[str], version: str) -> None:
    """Check that a source distribution holds all that builds and tests the project, and nothing else.

    Raises:
        CheckError: Something is missing, or is in it that must not be.
    """
    wanted = {name for name in tracked if name in SHIPPED_FILES or PurePosixPath(name).parts[0] in SHIPPED_FOLDERS}
    with tarfile.open(sdist) as archive:
        top = f"kros_mcp-{version}/"
        names = {member.name.removeprefix(top) for member in archive.getmembers() if not member.isdir()}
    _same(names, wanted | set(ADDED_BY_HATCHLING), sdist.name)


def _parsed(metadata: bytes) -> email.message.Message:
    return email.parser.BytesParser(policy=email.policy.compat32).parsebytes(metadata)


def _check_metadata(metadata: email.message.Message, version: str) -> None:
    told = {name: metadata[name] for name in ("Version", "Requires-Python", "License-Expression")}
    wanted = {"Version": version, "Requires-Python": PYTHONS, "License-Expression": "MIT"}
    require(told == wanted, f"the metadata says {told}, not {wanted}")
    require(metadata["Description-Content-Type"] == "text/markdown", "the readme is not said to be Markdown")
    require(str(metadata.get_payload()).strip().startswith("# kros-mcp"), "the readme is not in the metadata")
    extras = set(metadata.get_all("Provides-Extra", []))
    require(extras == EXTRAS, f"the extras are {sorted(extras)}, not {sorted(EXTRAS)}")
    supported = [one for one in metadata.get_all("Classifier", []) if one == "Typing :: Typed"]
    require(supported, "the classifiers do not say that the package is typed")


def _same(found: set[str], wanted: set[str], where: str) -> None:
    words = [*_named("too much", found - wanted), *_named("missing", wanted - found)]
    require(not words, f"{where}: {'; '.join(words)}")


def _named(what: str, names: set[str]) -> Iterator[str]:
    if names:
        yield f"{what}: {', '.join(sorted(names))}"
