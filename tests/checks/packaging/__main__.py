"""`python -m tests.checks.packaging`: build the package, install it, and see it work with nothing else there."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kros_mcp import __version__
from tests.checks.packaging import installed
from tests.checks.packaging.archives import STRAYS, check_sdist, check_wheel
from tests.checks.packaging.checks import Checks, require
from tests.checks.packaging.environments import Environment, interpreter, make_environment, uv
from tests.checks.packaging.resolving import check_wheels
from tests.support.processes import end_as_by_ctrl_c

ROOT = Path(__file__).parents[3]
# Quick ones that go through the whole server and its ways out; and those that look at the files themselves.
OLDEST_TESTS = (
    "tests/tools/test_tools_stdio.py",
    "tests/tools/test_tools_progress.py",
    "tests/tools/test_tools_published.py",
    "tests/http/test_http_oauth.py",
    "tests/krosai",
)
SDIST_TESTS = ("tests/test_architecture.py", "tests/test_money.py", "tests/checks/packaging")
NEEDS_THE_REPOSITORY = "test_no_lock_file_of_a_machines_registry_is_tracked"
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "bpe-openai")

ABOUT = """
Builds the source distribution and the wheel as a release would, looks at what is in them, and installs the wheel
into environments where nothing else is: no clone, no development dependency, no KROS_* setting. There it runs what a
newcomer runs. Whatever is planted beside the sources (.env, a journal, node_modules) must be in neither.

what is tried
  both files        every file of the project that belongs there and no other; metadata, extras, readme, licence
  the sdist         builds the same wheel again, byte by byte, and its own tests run
  the wheel         --version, --help, doctor, demo, http without and with its extra, demo in ASCII
  the types         mypy --strict on a program that uses the installed package
  wheels            all extras and test tools have some: Python 3.11 to 3.15; Linux, macOS arm64 and Windows
  uvx               the line of CONTRIBUTING that tries the built wheel
  other Pythons     those that the classifiers name, where an interpreter is at hand
  oldest versions   every dependency at the lowest version that pyproject.toml allows: demo, http, tests
"""
EXIT = """
It installs packages, so it needs a registry and is no test of `pytest`. Some two minutes on two cores; --quick leaves
out the tests at the oldest versions and the other Pythons.

exit codes
  0  nothing failed; what could not be tried here is said
  1  something failed

examples
  python -m tests.checks.packaging
  python -m tests.checks.packaging --keep dist      # and put the two files there
"""


def main() -> int:
    """Run every check and print the table."""
    arguments = _parsed()
    end_as_by_ctrl_c()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="kros-mcp-packaging-") as name:
        folder = Path(name)
        with checks.check("builds wheel and sdist"):
            build(folder)
        if not checks.failed:
            _look_inside(checks, folder)
            _use(checks, folder)
            if not arguments.quick:
                _at_the_oldest(checks, folder)
        if arguments.keep and not checks.failed:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            for built in (*folder.glob("dist/*.whl"), *folder.glob("dist/*.tar.gz")):
                shutil.copy(built, arguments.keep)
    print("\n".join(checks.table()))
    return 1 if checks.failed else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.checks.packaging",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the current dependencies and this Python alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy wheel and sdist there if nothing failed")
    return parser.parse_args()


def build(folder: Path) -> None:
    """Build both files from a copy of the project with strays beside its sources.

    The wheel in `direct` is built from the sources, the one in `dist` from the sdist, as `uv build` does.
    """
    source = folder / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in STRAYS:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("KROS_API_KEY=nobody-may-be-given-this\n")
    uv("build", "--quiet", "--out-dir", folder / "dist", cwd=source)
    uv("build", "--quiet", "--wheel", "--out-dir", folder / "direct", cwd=source)


def tracked() -> list[str]:
    """List the project's files: those that git tracks and that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _look_inside(checks: Checks, folder: Path) -> None:
    wheel, sdist = _wheel(folder), next(folder.glob("dist/*.tar.gz"))
    with checks.check("wheel: its files and metadata"):
        check_wheel(wheel, tracked(), __version__)
    with checks.check("sdist: its files"):
        check_sdist(sdist, tracked(), __version__)
    with checks.check("wheel from the sdist is the same"):
        direct = folder / "direct" / wheel.name
        require(direct.read_bytes() == wheel.read_bytes(), "the sdist builds another wheel than the sources")
    with checks.check("pyproject.toml is valid"):
        uv("tool", "run", "--with", "packaging", "validate-pyproject", ROOT / "pyproject.toml", cwd=folder)
    with checks.check("wheel has no known fault"):
        uv("tool", "run", "check-wheel-contents", wheel, cwd=folder)
    with checks.check("readme renders"):
        uv("tool", "run", "twine", "check", "--strict", wheel, sdist, cwd=folder)
    with checks.check("sdist: its tests run"):
        _test_the_sdist(folder, sdist)


def _test_the_sdist(folder: Path, sdist: Path) -> None:
    """Collect every test of the unpacked sdist, and run the quick ones, with the tools of this environment."""
    unpacked = folder / "unpacked"
    shutil.unpack_archive(sdist, unpacked)  # without a filter, which Python 3.11.2 does not know: it is our own
    [top] = unpacked.iterdir()
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for arguments in (["--collect-only"], [*SDIST_TESTS, "--deselect", f"{SDIST_TESTS[0]}::{NEEDS_THE_REPOSITORY}"]):
        subprocess.run([*pytest, *arguments], cwd=top, capture_output=True, text=True, check=True, timeout=300)


def _use(checks: Checks, folder: Path) -> None:
    wheel = _wheel(folder)
    with _environment(checks, "wheel installs alone", folder / "alone", sys.executable, wheel) as alone:
        with checks.check("kros-mcp --version, --help"):
            installed.check_words(alone, __version__)
        with checks.check("kros-mcp doctor, without a key"):
            installed.check_doctor(alone)
        with checks.check("kros-mcp demo"):
            installed.check_demo(alone)
        with checks.check("kros-mcp demo, terminal in ASCII"):
            installed.check_demo(alone, "ascii")
        with checks.check("kros-mcp http, without its extra"):
            installed.check_without_http(alone)
        with checks.check("wheel installs its extra http"):
            alone.install(f"{wheel}[http]")
        with checks.check("kros-mcp http answers /healthz"):
            installed.check_http(alone)
    with checks.check("mypy --strict sees the types"):
        installed.check_types(wheel, folder)
    with checks.check("wheels on Python 3.11 to 3.15"):
        check_wheels(ROOT / "pyproject.toml")
    with checks.check("uvx --from the wheel: demo"):
        installed.check_uvx(wheel, folder)


def _at_the_oldest(checks: Checks, folder: Path) -> None:
    wheel = _wheel(folder)
    for version in _other_pythons():
        python = interpreter(version)
        if python is None:
            checks.leave_out(f"Python {version}", "no such interpreter here")
            continue
        with _environment(checks, f"Python {version}: installs", folder / version, python, f"{wheel}[http]") as other:
            with checks.check(f"Python {version}: demo"):
                installed.check_demo(other)
            with checks.check(f"Python {version}: http"):
                installed.check_http(other)
    lowest: tuple[str | Path, ...] = (
        "--resolution",
        "lowest-direct",
        "--requirements",
        folder / "source" / "pyproject.toml",
        "--all-extras",
    )
    with _environment(checks, "oldest versions: install", folder / "oldest", sys.executable, *lowest) as oldest:
        with checks.check("oldest versions: demo"):
            oldest.install("--no-deps", wheel)
            installed.check_demo(oldest)
        with checks.check("oldest versions: http"):
            installed.check_http(oldest)
        with checks.check("oldest versions: tests"):
            oldest.install(*TEST_TOOLS)
            command = [str(oldest.python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *OLDEST_TESTS]
            [top] = (folder / "unpacked").iterdir()
            subprocess.run(command, cwd=top, capture_output=True, text=True, check=True, timeout=300)


def _other_pythons() -> list[str]:
    """List the minor versions that the classifiers promise, but for the one that runs this."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    named = [one.removeprefix("Programming Language :: Python :: ") for one in classifiers]
    return [one for one in named if re.fullmatch(r"3\.\d+", one) and one != "{}.{}".format(*sys.version_info)]


@contextmanager
def _environment(
    checks: Checks, name: str, folder: Path, python: str | Path, *what: str | Path
) -> Iterator[Environment]:
    """Make an environment as a check of its own; the checks inside fail one by one if that did not work."""
    environment = Environment(folder)
    with checks.check(name):
        environment = make_environment(folder, python)
        environment.install(*what)
    yield environment


def _wheel(folder: Path) -> Path:
    return next(folder.glob("dist/*.whl"))


if __name__ == "__main__":
    sys.exit(main())
