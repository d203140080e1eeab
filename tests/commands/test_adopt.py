"""`kros-mcp adopt`: the operations of a key that was replaced become those of the key that replaces it."""

import json
from dataclasses import replace

import anyio
import pytest
from commands_doubles import Command, an_operation, put, read, settled
from test_approve import types

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import State
from kros_mcp.settings import load_settings

__all__ = ["types"]

FORMER = "0123456789abcdef0123456789abcdef"
OTHER = "0123ffff89abcdef0123456789abcdef"
ANSWER = ("--yes", "--reason", "key rotated")


@pytest.fixture(autouse=True)
def with_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_successor")


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


def told(command: Command, *words: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(command("operations", "--json", *words).out)
    return document


def test_the_operations_of_a_former_key_are_shown_and_handed_over_after_the_word_is_typed(
    command: Command, journal_url: str, types: list[str]
) -> None:
    bought = put(journal_url, an_operation(account=FORMER), *settled(State.DONE))
    unknown = put(journal_url, an_operation(account=FORMER, e164="+2342015550101"), *settled(State.UNKNOWN))

    types += ["no"]
    left = command("adopt", "0123")
    assert (left.code, read(journal_url, bought.id).account) == (1, FORMER)
    assert "Nothing was handed over." in left.out
    types += ["adopt", "rotated"]
    done = command("adopt", "0123")

    assert done.code == 0
    assert "2 operations of account 01234567 (1 unknown) would belong" in " ".join(done.out.split())
    own = told(command)["account"]
    for operation in (bought, unknown):
        assert read(journal_url, operation.id).account == own
    assert told(command)["total"] == 2


def test_without_a_terminal_it_needs_a_yes_and_a_reason(command: Command, journal_url: str) -> None:
    operation = put(journal_url, an_operation(account=FORMER))

    assert command("adopt", FORMER).code == 1
    assert command("adopt", FORMER, "--yes").code == 2
    assert read(journal_url, operation.id).account == FORMER
    assert command("adopt", FORMER, *ANSWER).code == 0
    assert read(journal_url, operation.id).account == told(command)["account"]


def test_a_beginning_that_is_nobodys_or_several_accounts_is_refused(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(account=FORMER))
    put(journal_url, an_operation(account=OTHER))
    own = str(put(journal_url, an_operation(), own=True).account)

    several, nobody, mine = (command("adopt", name, *ANSWER) for name in ("0123", "9999", own[:8]))

    assert (several.code, nobody.code, mine.code) == (2, 2, 2)
    assert FORMER in several.err
    assert OTHER in several.err
    assert "has no account '9999'" in nobody.err
    assert "already" in mine.err
    assert told(command, "--all-accounts")["total"] == 3


def test_live_operations_are_not_handed_to_a_test_key(command: Command, journal_url: str) -> None:
    live = an_operation(account=FORMER)
    put(journal_url, replace(live, quote=replace(live.quote, environment="live")))

    refused = command("adopt", FORMER, *ANSWER)

    assert refused.code == 1
    assert "are live, and this key is test" in refused.err
    assert read(journal_url, live.id).account == FORMER


def test_without_a_key_there_is_nobody_to_hand_them_to(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    put(journal_url, an_operation(account=FORMER))
    environment.delenv("KROS_API_KEY")

    refused = command("adopt", FORMER, *ANSWER)

    assert refused.code == 2
    assert "KROS_API_KEY" in refused.err


def test_the_doctor_names_the_command_and_the_account(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(account=FORMER), *settled(State.UNKNOWN))

    assert "kros-mcp adopt 01234567" in command("doctor").out


def test_commands_find_what_an_older_version_wrote_for_an_organization(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_ORGANIZATION_ID", "org-1")

    async def former() -> str:
        async with open_journal(journal_url) as journal:
            return load_settings().former_account(journal.secret) or ""

    operation = put(journal_url, an_operation(account=anyio.run(former)))

    assert told(command)["total"] == 1
    environment.setenv("KROS_API_KEY", "kros_test_rotated")
    assert told(command)["total"] == 1
    assert read(journal_url, operation.id).account == told(command)["account"]
