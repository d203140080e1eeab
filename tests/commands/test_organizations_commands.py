"""A person at the terminal reaches the books of one organization or the other, and never one for the other."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from commands_doubles import E164, Command, an_operation, put, read, settled

from kros_mcp.http.tokens import read_tokens
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Move, NamedOrganization
from kros_mcp.operations.model import Operation, State
from kros_mcp.settings import for_organization, load_settings
from kros_mcp.simulator import Simulator, open_server
from tests.support.issuer import entry, tokens_file
from tests.support.tenants import other_of

OTHER_NUMBER = "+2342015550101"
DECIDED = ("--yes", "--reason", "agreed")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Simulator, str]]:
    sim = Simulator(organizations=2)
    for each in sim.organizations.values():
        each.owned.clear()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_server(sim)) as base_url:
        yield sim, base_url


@pytest.fixture
def sim(served: tuple[Simulator, str], environment: pytest.MonkeyPatch) -> Simulator:
    sim, base_url = served
    environment.setenv("KROS_BASE_URL", base_url)
    environment.setenv("KROS_API_KEY", sim.api_key)
    environment.setenv("KROS_ORGANIZATION_ID", sim.organization_id)
    sim.requests.clear()
    return sim


@pytest.fixture
def other(sim: Simulator) -> str:
    return other_of(sim).organization_id


def of(journal_url: str, organization: str, operation: Operation, *then: Move) -> Operation:
    """Store an operation of the other organization, of which a caller has come to a service."""

    async def account() -> str:
        async with open_journal(journal_url) as journal:
            name = for_organization(load_settings(), organization).account(journal.secret)
            await journal.note_organization(NamedOrganization(name, organization, "tokens", "some key"))
            return name

    return put(journal_url, replace(operation, account=anyio.run(account)), *then)


def test_the_books_of_one_organization_are_listed_and_written_down(
    command: Command, journal_url: str, other: str
) -> None:
    mine = put(journal_url, an_operation(), own=True)
    theirs = of(journal_url, other, an_operation(e164=OTHER_NUMBER))
    for words, shown in (((), mine), (("--organization", other), theirs)):
        listed = json.loads(command("operations", "--json", *words).out)
        assert [each["operation_id"] for each in listed["operations"]] == [shown.id]
        assert listed["hidden_of_other_accounts"] == 1
        rows = list(csv.DictReader(io.StringIO(command("export", *words).out)))
        assert [row["operation_id"] for row in rows] == [shown.id]


@pytest.mark.parametrize("word", ["approve", "deny"])
def test_a_decision_for_one_organization_is_never_made_on_anothers(
    command: Command, journal_url: str, other: str, sim: Simulator, word: str
) -> None:
    mine = put(journal_url, an_operation(), own=True)
    theirs = of(journal_url, other, an_operation(e164=OTHER_NUMBER))
    for operation, organization in ((mine, other), (theirs, sim.organization_id)):
        refused = command(word, operation.id, *DECIDED, "--organization", organization)
        assert refused.code == 1
        assert "There is no operation" in refused.err
        assert read(journal_url, operation.id).state is State.PROPOSED
    done = command(word, theirs.id, *DECIDED, "--organization", other)
    assert done.code == 0
    assert other in done.out
    assert read(journal_url, theirs.id).state is not State.PROPOSED


def test_settling_for_one_organization_is_never_of_anothers(
    command: Command, journal_url: str, other: str, sim: Simulator
) -> None:
    theirs = of(journal_url, other, an_operation(), *settled(State.UNKNOWN, ago=86_400))
    words = ("settle", theirs.id, "failed", "--yes", "--reason", "looked")
    assert command(*words, "--organization", sim.organization_id).code == 1
    assert read(journal_url, theirs.id).state is State.UNKNOWN
    assert command(*words, "--organization", other).code == 0
    assert read(journal_url, theirs.id).state is State.FAILED


def test_each_organization_is_compared_with_what_krosai_shows_of_it(
    command: Command, journal_url: str, other: str, sim: Simulator
) -> None:
    of(journal_url, other, an_operation(), *settled(State.DONE, ago=86_400))
    own = json.loads(command("reconcile", "--json").out)
    theirs = json.loads(command("reconcile", "--json", "--organization", other).out)
    assert (own["exit_code"], theirs["exit_code"]) == (0, 1)
    assert E164 not in json.dumps(own)
    assert E164 in json.dumps(theirs)
    assert own["account"] != theirs["account"]
    assert {seen.headers["x-organization-id"] for seen in sim.requests} == {sim.organization_id, other}


def test_an_organization_is_named_by_an_id_and_with_a_key(
    command: Command, environment: pytest.MonkeyPatch, other: str
) -> None:
    assert command("operations", "--organization", "null").code == 2
    assert command("operations", "--organization", other, "--all-accounts").code == 2
    environment.delenv("KROS_API_KEY")
    refused = command("operations", "--organization", other)
    assert refused.code == 2
    assert "KROS_API_KEY" in refused.err


def test_who_asked_in_one_organization_is_known_there_alone(
    command: Command, environment: pytest.MonkeyPatch, journal_url: str, other: str, tmp_path: Path
) -> None:
    path = tokens_file(tmp_path / "tokens.toml", entry("ada", "krosmcp_ada", "read", "buy", organization_id=other))
    environment.setenv("KROS_TOKENS_FILE", str(path))
    here = put(journal_url, an_operation(principal="tokens|ada"), own=True)
    there = of(journal_url, other, an_operation(principal="tokens|ada", e164=OTHER_NUMBER))
    assert "does not name them any more" in " ".join(command("approve", here.id, *DECIDED).out.split())
    assert "any more" not in command("approve", there.id, *DECIDED, "--organization", other).out


def test_a_token_is_made_for_an_organization(command: Command, tmp_path: Path, other: str) -> None:
    path = tmp_path / "tokens.toml"
    words = ("token", "ada", "--scopes", "read", "--file", str(path), "--organization")
    for wrong in ("", "null", other.upper(), "a b"):
        refused = command(*words, wrong)
        assert (refused.code, path.exists()) == (2, False)
        assert "--organization" in refused.err
    made = command(*words, other)
    assert made.code == 0
    assert "KROS_ORGANIZATION_ID" in made.err
    assert read_tokens(path)["ada"].organization_id == other
    assert other in command("token", "--list", "--file", str(path)).out


def test_the_doctor_asks_for_each_organization_of_the_tokens_file(
    command: Command, environment: pytest.MonkeyPatch, other: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.toml"
    environment.setenv("KROS_TOKENS_FILE", str(path))
    nobodys = "3f9c2a52-0000-4000-8000-00000000000b"
    names = {"ada": other, "bola": nobodys}
    tokens_file(path, *(entry(name, f"krosmcp_{name}", "read", organization_id=each) for name, each in names.items()))
    ran = command("doctor")
    told = " ".join(ran.out.split())
    assert f"KrosAI answers for the organization {other}" in told
    assert f"does not let this key act for the organization {nobodys}" in told
    assert ran.code == 1
    environment.delenv("KROS_ORGANIZATION_ID")
    assert "KROS_ORGANIZATION_ID has to name" in " ".join(command("doctor").out.split())


def test_the_books_of_an_organization_are_no_replaced_keys(command: Command, journal_url: str, other: str) -> None:
    theirs = of(journal_url, other, an_operation(), *settled(State.UNKNOWN, ago=3_600))
    refused = command("adopt", theirs.account, "--yes", "--reason", "rotated")
    assert refused.code == 1
    assert other in refused.err
    assert read(journal_url, theirs.id).account == theirs.account
    told = " ".join(command("doctor").out.split())
    assert f"of other organizations that callers name: {theirs.id}" in told
    assert "kros-mcp adopt" not in told


def test_the_doctor_says_where_krosai_answers_for_another_organization(command: Command, sim: Simulator) -> None:
    sim.faults.switch_on("other_organization", times=None)
    try:
        ran = command("doctor")
    finally:
        sim.faults.clear()
    told = " ".join(ran.out.split())
    assert "another organization than was asked for" in told
    assert "Compare KROS_ORGANIZATION_ID" in told
    assert ran.code == 4
