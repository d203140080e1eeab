import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kros_mcp import __version__
from tests.checks.packaging.archives import check_sdist, check_wheel
from tests.checks.packaging.checks import CheckError, Checks, require

TRACKED = (
    "kros_mcp/__init__.py",
    "kros_mcp/py.typed",
    "tests/test_one.py",
    "docs/privacy.md",
    "README.md",
    ".ci/run",
)
INFO = f"kros_mcp-{__version__}.dist-info"
METADATA = f"""\
Metadata-Version: 2.4
Name: kros-mcp
Version: {__version__}
License-Expression: MIT
Classifier: Typing :: Typed
Requires-Python: >=3.11
Provides-Extra: all
Provides-Extra: http
Provides-Extra: notify
Provides-Extra: otel
Provides-Extra: postgres
Provides-Extra: socks
Description-Content-Type: text/markdown

# kros-mcp
"""
WHEEL = {
    "kros_mcp/__init__.py": "",
    "kros_mcp/privacy.md": "",
    "kros_mcp/py.typed": "",
    f"{INFO}/METADATA": METADATA,
    f"{INFO}/RECORD": "",
    f"{INFO}/WHEEL": "Tag: py3-none-any\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\nkros-mcp = kros_mcp.cli:main\n",
    f"{INFO}/licenses/LICENSE": "",
}
SDIST = (
    "kros_mcp/__init__.py",
    "kros_mcp/py.typed",
    "tests/test_one.py",
    "docs/privacy.md",
    "README.md",
    ".gitignore",
    "PKG-INFO",
)


def wheel_of(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "one.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def sdist_of(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "one.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"kros_mcp-{__version__}/{name}"), io.BytesIO())
    return path


def test_a_wheel_and_an_sdist_with_what_belongs_there_pass(tmp_path: Path) -> None:
    check_wheel(wheel_of(tmp_path, WHEEL), TRACKED, __version__)
    check_sdist(sdist_of(tmp_path, SDIST), TRACKED, __version__)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kros_mcp/.env": ""}, r"too much: kros_mcp/\.env"),
        ({"tests/test_one.py": ""}, "too much: tests/test_one"),
        ({"kros_mcp/py.typed": None}, "missing: kros_mcp/py.typed"),
        (
            {f"{INFO}/METADATA": METADATA.replace("extra: otel", "extra: more").replace("Extra: otel", "Extra: more")},
            "more",
        ),
        ({f"{INFO}/METADATA": METADATA.replace(">=3.11", ">=3.9")}, "Requires-Python"),
        ({f"{INFO}/entry_points.txt": ""}, "no command kros-mcp"),
    ],
)
def test_a_wheel_that_differs_is_refused_by_name(tmp_path: Path, change: dict[str, str | None], words: str) -> None:
    files = {name: text for name, text in (WHEEL | change).items() if text is not None}
    with pytest.raises(CheckError, match=words):
        check_wheel(wheel_of(tmp_path, files), TRACKED, __version__)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((*SDIST, "tests/checks/node/node_modules/stray/index.js"), "too much: tests/checks/node/node_modules"),
        ((*SDIST, "pictures/one.png"), "too much: pictures/one.png"),
        (SDIST[1:], "missing: kros_mcp/__init__.py"),
    ],
)
def test_an_sdist_that_differs_is_refused_by_name(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(CheckError, match=words):
        check_sdist(sdist_of(tmp_path, names), TRACKED, __version__)


def test_what_was_not_tried_is_said_and_what_failed_decides() -> None:
    said: list[str] = []
    checks = Checks(said.append)
    with checks.check("one"):
        pass
    checks.leave_out("two", "no such interpreter here")
    before = checks.failed
    with checks.check("three"):
        require(checks.failed, "too much")
    assert (before, checks.failed) == (False, True)
    assert said == ["three: too much"]
    assert [line.split(maxsplit=2)[2] for line in checks.table()[1:]] == [
        "ok",
        "not tried: no such interpreter here",
        "FAILED",
    ]
