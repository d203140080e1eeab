"""`python -m tests.checks.conformance`: run the official suite, and say whether anything is not as expected."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import anyio

from tests.checks.node import install
from tests.support.columns import in_columns
from tests.support.processes import end_as_by_ctrl_c
from tests.support.replicas import open_service

from .suite import REVISIONS, expected_failures, try_out
from .verdict import Verdict, expected_in

ABOUT = """
Starts `kros-mcp http --simulator --no-auth` on a free port, and runs the official conformance suite of the Model
Context Protocol against it: all that each revision of the protocol requires of a server, and one scenario a revision
beyond that. The first run installs the suite from npm, which takes a quarter of a minute; then it takes seconds.

More than half of the scenarios call tools, prompts and resources of the suite's own (`test_image_content`, say), which
only a server written for the suite has. Those stand, check by check and each with its reason, in

  tests/checks/conformance/expected-REVISION.yml

Everything else must pass, other checks of the same scenarios too.
"""
EPILOG = """
the table
  run         scenarios that were run
  passed      those without a failing check
  hollow      so many of these call a tool of the suite's own, and are content with its refusal: they show little
  expected    those in which nothing fails but what the file names
  unexpected  all others
  checks      single checks that passed

exit codes
  0  all is as expected
  1  something fails that the file does not name, passes although the file names it, or was not run
  2  wrong usage, or a file of expected failures in which a line has no reason

examples
  python -m tests.checks.conformance
  python -m tests.checks.conformance --revision 2026-07-28 --keep checks    # each check, with what the service answered
"""
START_SECONDS = 60.0


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.checks.conformance",
        description=ABOUT,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--revision", choices=REVISIONS, help="of the protocol; by default both")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave what the suite and the service write there")
    parsed = parser.parse_args(arguments)
    try:
        for revision in REVISIONS:
            expected_in(expected_failures(revision))
    except ValueError as exc:
        parser.error(str(exc))
    if parsed.keep and parsed.keep.exists() and any(parsed.keep.iterdir()):
        parser.error(f"--keep: {parsed.keep} is not empty")
    return parsed


async def run(revisions: tuple[str, ...], folder: Path) -> dict[str, Verdict]:
    """Run the suite once for each of these, against one service."""
    # The suite asks faster than one caller may.
    settings = {"KROS_REQUESTS_PER_SECOND": "0"}
    async with open_service(("--simulator", "--no-auth"), settings, folder / "service.log") as service:
        with anyio.fail_after(START_SECONDS):
            await service.served()
        return {revision: await try_out(service.url, revision, folder) for revision in revisions}


def table(verdicts: Mapping[str, Verdict]) -> str:
    """A line for each revision, in columns."""
    rows: list[tuple[str, ...]] = [("revision", "run", "passed", "hollow", "expected", "unexpected", "checks")]
    for revision, came in verdicts.items():
        counts = tuple(map(len, (came.passed, came.hollow, came.expected, came.unexpected)))
        rows.append((revision, *map(str, (came.run, *counts, came.checks))))
    return "\n".join(in_columns(rows))


def main() -> int:
    arguments = parsed()
    revisions = (arguments.revision,) if arguments.revision else REVISIONS
    end_as_by_ctrl_c()
    install()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kros-conformance-")))
        folder.mkdir(parents=True, exist_ok=True)
        verdicts = anyio.run(run, revisions, folder)
    print(table(verdicts))
    findings = [f"{revision}  {finding}" for revision, came in verdicts.items() for finding in came.findings]
    print("", *(["not as expected:", *findings] if findings else ["all is as expected"]), sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
