"""The commands at a journal in PostgreSQL: the same answers, and no word of its password."""

import csv
import io
import json

import pytest
from commands_doubles import Command, an_operation, put, read, settled

from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator

PASSWORD = "canary0a1b2c3d4e5f"  # noqa: S105 - trusted without it, and searched for in every output


@pytest.fixture
def journal_url(postgres_url: str) -> str:
    return postgres_url.replace("//postgres@", f"//postgres:{PASSWORD}@")


@pytest.mark.usefixtures("pointed")
def test_operations_are_listed_counted_exported_and_decided(command: Command, journal_url: str) -> None:
    bought = put(journal_url, an_operation(), *settled(State.DONE), own=True)
    waiting = put(journal_url, an_operation(e164="+2342015550101"), own=True)

    listed = json.loads(command("operations", "--json").out)
    assert [one["operation_id"] for one in listed["operations"]] == [waiting.id, bought.id]
    assert (listed["total"], listed["waiting_for_a_person"]) == (2, 1)
    assert command("approve", waiting.id, "--yes", "--reason", "it may").code == 0
    assert read(journal_url, waiting.id).reason == "it may"
    rows = list(csv.DictReader(io.StringIO(command("export", "--csv", "--state", "done").out)))
    assert [(row["operation_id"], row["charged_cents"]) for row in rows] == [(bought.id, "500")]


def test_reconcile_compares_it_with_krosai(command: Command, pointed: Simulator, journal_url: str) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN), own=True)

    found = command("reconcile")

    assert found.code == 1
    assert lost.id in found.out
    assert {seen.method for seen in pointed.requests} == {"GET"}


@pytest.mark.usefixtures("pointed")
def test_the_doctor_says_where_it_is_and_who_is_missing(command: Command, environment: pytest.MonkeyPatch) -> None:
    without = command("doctor")
    environment.setenv("KROS_PRINCIPAL", "user-1")
    told = command("doctor")

    assert (without.code, told.code) == (2, 0)
    assert "KROS_PRINCIPAL is missing" in without.out
    assert "The journal postgresql:///postgres can" in told.out
    assert PASSWORD not in told.out + told.err + without.out
