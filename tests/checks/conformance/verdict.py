"""What a run of the suite shows: read from the checks that it wrote, held against what is expected to fail."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

Checks = Mapping[str, Sequence[Mapping[str, Any]]]
"""The checks of each scenario, as the suite writes them."""

_ENTRY = re.compile(r"^  - (\S+)  # (.+)$")
_REFUSED_FIXTURE = "UNKNOWN_TOOL"
_FAILS = ("FAILURE", "WARNING")
_SHOWS = ("SUCCESS", *_FAILS)


@dataclass(frozen=True)
class Verdict:
    """What came of one revision of the protocol."""

    passed: tuple[str, ...]
    """Scenarios without a failing check."""
    hollow: tuple[str, ...]
    """Those of them that called a tool of the suite's own, and were content with its refusal."""
    expected: tuple[str, ...]
    """Scenarios in which nothing fails but what is expected to."""
    unexpected: tuple[str, ...]
    """All others, and those that were not run."""
    checks: int
    """How many single checks passed."""
    findings: tuple[str, ...]
    """What is not as it should be, in sentences; none is a success."""

    @property
    def run(self) -> int:
        """How many scenarios count."""
        return len(self.passed) + len(self.expected) + len(self.unexpected)


def expected_in(file: Path) -> dict[str, str]:
    """The checks that are expected to fail, as SCENARIO:CHECK, each with its reason.

    Raises:
        ValueError: A line has no reason, or the suite would read it otherwise.
    """
    heading, *lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    entries = [_ENTRY.match(line) for line in lines]
    if heading != "server:" or not all(entries):
        raise ValueError(f"{file.name} holds `server:`, and under it lines of the form `  - SCENARIO:CHECK  # reason`.")
    return {entry[1]: entry[2] for entry in entries if entry}


def checks_in(results: Path) -> Checks:
    """Read the checks of every scenario from folders such as `server-ping-2026-11-22T05-28-43-049Z`."""
    return {
        re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", file.parent.name).removeprefix("server-"): json.loads(file.read_text())
        for file in results.glob("server-*/checks.json")
    }


def verdict(asked: Iterable[str], checks: Checks, expected: Iterable[str], code: int) -> Verdict:
    """Hold a run against what is expected.

    Args:
        asked: The scenarios that have to be run.
        checks: Of those that were run, and of others, which do not count.
        expected: Checks that fail, as SCENARIO:CHECK.
        code: With which the suite ended; it goes by the same file, and must not know better.
    """
    excused: dict[str, set[str]] = {name: set() for name in asked}
    findings = [] if excused else ["nothing was run"]
    for scenario, _, check in (entry.partition(":") for entry in expected):
        if scenario in excused:
            excused[scenario].add(check)
        else:
            findings.append(f"{scenario} is expected to fail, and was not run")
    wrong = {name: _wrong(name, checks.get(name, ()), allowed) for name, allowed in excused.items()}
    findings += chain.from_iterable(wrong.values())
    if code and not findings:
        findings.append(f"the suite ended with {code}, for no reason that its checks show")

    as_expected = [name for name in excused if not wrong[name]]
    passed = tuple(name for name in as_expected if not excused[name])
    return Verdict(
        passed,
        tuple(name for name in passed if _REFUSED_FIXTURE in json.dumps(checks[name])),
        tuple(name for name in as_expected if excused[name]),
        tuple(name for name in excused if wrong[name]),
        sum(check["status"] == "SUCCESS" for name in excused for check in checks.get(name, ())),
        tuple(findings),
    )


def _wrong(scenario: str, checks: Sequence[Mapping[str, Any]], excused: set[str]) -> list[str]:
    """What is not as expected in one scenario; one without a check that shows anything was not run."""
    if not any(check["status"] in _SHOWS for check in checks):
        return [f"{scenario} was not run, or checked nothing"]
    failing = {check["id"] for check in checks if check["status"] in _FAILS}
    return [
        *(f"{scenario}:{check} failed: {_why(checks, check)}" for check in sorted(failing - excused)),
        *(f"{scenario}:{check} is expected to fail, and does not" for check in sorted(excused - failing)),
    ]


def _why(checks: Sequence[Mapping[str, Any]], wanted: str) -> str:
    return "; ".join(
        check.get("errorMessage") or check["description"]
        for check in checks
        if check["id"] == wanted and check["status"] in _FAILS
    )
