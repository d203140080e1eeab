"""What doctor and reconcile find: a line each, what to do about it, and one exit code for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kros_mcp.commands.console import say_labelled
from kros_mcp.errors import KrosError

_GRAVEST_FIRST = (2, 3, 4, 1)
_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}
_LABEL_COLUMNS = 6


@dataclass(frozen=True)
class Finding:
    """One line of the report; `exit_code` counts for a FAIL alone."""

    mark: Literal["ok", "warn", "FAIL"]
    what: str
    to_do: str = ""
    exit_code: int = 0


def ok(what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding("ok", what)


def warn(what: str, to_do: str) -> Finding:
    """Return that something deserves a look; it fails nothing."""
    return Finding("warn", what, to_do)


def fail(what: str, to_do: str, exit_code: int = 1) -> Finding:
    """Return that something is wrong."""
    return Finding("FAIL", what, to_do, exit_code)


def failed(exc: KrosError) -> Finding:
    """Return an error as a finding, with its own exit code."""
    return fail(exc.message, exc.next_step, exc.exit_code)


def report(findings: Sequence[Finding]) -> int:
    """Print every finding and a last line that sums them up.

    Returns:
        0, or the gravest exit code of those that fail.
    """
    for finding in findings:
        say_labelled(finding.mark, finding.what, columns=_LABEL_COLUMNS, label_style=_COLOURS[finding.mark])
        if finding.to_do:
            arrow = "-> ".rjust(_LABEL_COLUMNS + 3)
            say_labelled(arrow, finding.to_do, columns=len(arrow))
    failures = sum(finding.mark == "FAIL" for finding in findings)
    warnings = sum(finding.mark == "warn" for finding in findings)
    print()
    failing = _count(failures, "check fails", "checks fail") if failures else "No check fails"
    print(f"{failing}, {_count(warnings, 'warning', 'warnings')}.")
    return verdict(findings)


def verdict(findings: Sequence[Finding]) -> int:
    """Return 0, or the gravest exit code of those that fail."""
    failures = [finding.exit_code for finding in findings if finding.mark == "FAIL"]
    return min(failures, key=_GRAVEST_FIRST.index, default=0)


def _count(number: int, one: str, many: str) -> str:
    return f"{number or 'no'} {one if number == 1 else many}"
