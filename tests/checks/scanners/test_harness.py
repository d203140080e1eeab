from typing import Any

import pytest

from .findings import Finding
from .harness import NAME, scan_of
from .running import NothingScannedError

WAYS = "http 2026-07-28", "http 2025-11-25", "stdio 2026-07-28", "stdio 2025-11-25"
GUARDS = {
    "approval-binding, buying by code": ("APB-001", "APB-002", "APB-003"),
    "hidden-instruction": ("HI-001", "HI-002", "HI-003", "HI-004"),
}


def row(test: str, verdict: str = "passed", answer: str = "", variant: str = "") -> dict[str, str]:
    return {"test": test, "verdict": verdict, "answer": answer, "variant": variant, "details": "as told"}


def report(**changed: Any) -> dict[str, Any]:
    """Make the report of a run in which everything passed."""
    rows = {way: [row("MCP-001"), row("MCP-002")] for way in WAYS}
    rows |= {place: [row(test) for test in tests] for place, tests in GUARDS.items()}
    return {"version": "4.28.1", "tests": ["MCP-001", "MCP-002"], "rows": rows, "unseen": []} | changed


def test_what_passes_is_no_finding_and_what_could_not_tell_is_one() -> None:
    made = report()
    made["rows"]["stdio 2025-11-25"][0] = row("MCP-001", "inconclusive")

    scan = scan_of(made, 1)

    assert scan.findings == (Finding(NAME, "MCP-001 inconclusive", "stdio 2025-11-25"),)
    assert scan.what == "15 tests: 14 passed, 0 failed, 1 inconclusive"


def test_a_reason_holds_for_the_answer_that_was_seen_and_for_no_other() -> None:
    made = report()
    made["rows"]["http 2026-07-28"][1] = row("MCP-002", "failed", "isError NOT_FOUND", "in another's session")

    [found] = scan_of(made, 1).findings

    assert found == Finding(NAME, "MCP-002 failed", "http 2026-07-28, in another's session, isError NOT_FOUND")


@pytest.mark.parametrize("place", [*WAYS, *GUARDS])
def test_a_run_that_left_a_test_out_is_no_run(place: str) -> None:
    made = report()
    made["rows"][place].pop()

    with pytest.raises(NothingScannedError, match="did not run"):
        scan_of(made, 1)


@pytest.mark.parametrize("place", [*WAYS, *GUARDS])
def test_a_place_that_was_left_out_is_no_run(place: str) -> None:
    made = report()
    del made["rows"][place]

    with pytest.raises(NothingScannedError, match="did not run"):
        scan_of(made, 1)


def test_a_suite_without_tests_is_no_run() -> None:
    with pytest.raises(NothingScannedError, match="did not run"):
        scan_of(report(tests=[]), 1)


@pytest.mark.parametrize("verdict", ["broken", "skipped", ""])
def test_a_test_that_broke_off_counts_for_nothing(verdict: str) -> None:
    made = report()
    made["rows"]["hidden-instruction"][0] = row("HI-001", verdict)

    with pytest.raises(NothingScannedError, match="broke off: HI-001 on hidden-instruction: as told"):
        scan_of(made, 1)


def test_a_suite_that_sees_nothing_in_a_bad_server_is_not_believed() -> None:
    with pytest.raises(NothingScannedError, match="targets that are bad: MCP-008"):
        scan_of(report(unseen=["MCP-008"]), 1)
