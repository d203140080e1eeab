"""The official suite, run against a service."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.checks.node import program
from tests.support.processes import run_group

from .verdict import Verdict, checks_in, expected_in, verdict

ALSO_HELD: Mapping[str, tuple[str, ...]] = {
    "2025-11-25": ("server-session-lifecycle",),
    "2026-07-28": ("http-header-validation",),
}
"""Scenarios that the suite runs without counting them, and that apply to a real server: they must pass here."""
REVISIONS = tuple(ALSO_HELD)

_PATIENCE_SECONDS = 300


def expected_failures(revision: str) -> Path:
    """The file that says what is expected to fail, in the form that the suite reads."""
    return Path(__file__).with_name(f"expected-{revision}.yml")


def required(listed: str) -> tuple[str, ...]:
    """Read which scenarios a revision requires of a server from what `conformance list` prints."""
    of_servers = listed.partition("Server scenarios")[2].partition("\n\n")[0]
    return tuple(re.findall(r"^  - (\S+)$", of_servers, re.MULTILINE))


async def try_out(url: str, revision: str, folder: Path) -> Verdict:
    """Run what one revision requires, and leave what the suite writes in a folder.

    Raises:
        TimeoutError: The suite does not end.
        ValueError: The file of expected failures is malformed.
    """
    file, results = expected_failures(revision), folder / revision
    expected = expected_in(file)
    _, listed = await _say("list", "--requirements", revision)
    asked = required(listed)
    options = ("--requirements", revision, "--expected-failures", str(file), "--output-dir", str(results))
    code, said = await _say("server", "--url", url, *options)
    (folder / f"{revision}.txt").write_text(said, encoding="utf-8")
    return verdict((*asked, *(ALSO_HELD[revision] if asked else ())), checks_in(results), expected, code)


async def _say(*arguments: str) -> tuple[int, str]:
    """Run a command of the suite; its exit code and all that it prints."""
    ended = await run_group([*program("conformance"), *arguments], seconds=_PATIENCE_SECONDS)
    return ended.returncode, ended.stdout + ended.stderr
