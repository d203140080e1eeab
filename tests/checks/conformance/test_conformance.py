"""How a run of the official suite is judged; the suite itself runs by `python -m tests.checks.conformance`."""

import json
from pathlib import Path
from typing import Any

import pytest

from .suite import REVISIONS, expected_failures, required
from .verdict import checks_in, expected_in, verdict

LISTED = """Required for 2025-11-25 (3 scenarios, frozen; run at the 2025-11-25 wire):

Server scenarios (test against a server):
  - ping
  - tools-call-image

Client scenarios (test against a client):
  - initialize

Run and reported, but never scored:
  pending (1):
    - server-sse-polling [server]
"""


def check(name: str, status: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    return {"id": name, "status": status, "description": "It answers", **more}


def test_what_servers_must_do_is_read_without_what_clients_must() -> None:
    assert required(LISTED) == ("ping", "tools-call-image")


def test_a_run_in_which_nothing_fails_but_what_is_expected_has_no_findings() -> None:
    checks = {
        "ping": [check("ping"), check("wire")],
        "tools-call-image": [check("image", "FAILURE"), check("wire")],
        "tools-call-error": [check("error", details={"text": "code: UNKNOWN_TOOL"})],
        "extension": [check("never-counted", "FAILURE")],
    }
    came = verdict(("ping", "tools-call-image", "tools-call-error"), checks, ("tools-call-image:image",), 0)
    assert (came.passed, came.hollow) == (("ping", "tools-call-error"), ("tools-call-error",))
    assert (came.expected, came.unexpected) == (("tools-call-image",), ())
    assert (came.run, came.checks, came.findings) == (3, 4, ())


@pytest.mark.parametrize("status", ["FAILURE", "WARNING"])
def test_a_failure_that_nobody_expects_is_told_with_its_reason(status: str) -> None:
    checks = {"ping": [check("ping", status, errorMessage="no answer"), check("image", "FAILURE")]}
    came = verdict(("ping",), checks, ("ping:image",), 1)
    assert (came.unexpected, came.findings) == (("ping",), ("ping:ping failed: no answer",))


def test_an_expected_failure_that_passes_or_never_comes_up_is_told() -> None:
    checks = {"ping": [check("ping")]}
    came = verdict(("ping",), checks, ("ping:ping", "pong:pong"), 1)
    assert came.unexpected == ("ping",)
    assert came.findings == (
        "pong is expected to fail, and was not run",
        "ping:ping is expected to fail, and does not",
    )


@pytest.mark.parametrize("left", [{}, {"ping": []}, {"ping": [check("ping", "SKIPPED")]}])
def test_what_was_not_run_is_no_success(left: dict[str, Any]) -> None:
    came = verdict(("ping",), left, (), 0)
    assert (came.passed, came.findings) == ((), ("ping was not run, or checked nothing",))
    assert verdict((), left, (), 0).findings == ("nothing was run",)


def test_a_suite_that_fails_without_a_failing_check_is_told() -> None:
    came = verdict(("ping",), {"ping": [check("ping")]}, (), 1)
    assert came.findings == ("the suite ended with 1, for no reason that its checks show",)


def test_the_checks_of_each_scenario_are_found_by_its_name(tmp_path: Path) -> None:
    for name in ("ping", "server-stateless", "json-schema-2020-12"):
        folder = tmp_path / f"server-{name}-2026-11-22T05-28-43-049Z"
        folder.mkdir()
        (folder / "checks.json").write_text(json.dumps([check(name)]), encoding="utf-8")
    found = checks_in(tmp_path)
    assert {name: checks[0]["id"] for name, checks in found.items()} == {name: name for name in found}
    assert set(found) == {"ping", "server-stateless", "json-schema-2020-12"}


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_expected_failure_names_one_check_and_its_reason(revision: str) -> None:
    for entry, reason in expected_in(expected_failures(revision)).items():
        assert all(entry.partition(":"))
        assert "test" in reason or "declares no" in reason


def test_an_expected_failure_without_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "expected.yml"
    for line in ("  - ping:ping", "  - ping:ping  #", "- ping:ping  # because", "  ping:ping  # because"):
        file.write_text(f"# Expected\nserver:\n{line}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"expected\.yml holds"):
            expected_in(file)
