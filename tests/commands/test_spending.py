"""`kros-mcp spending`: what people, spreadsheets and programs are told was spent.

`tests/money/test_expenditure.py` tries the sums themselves, on both journals.
"""

import csv
import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from commands_doubles import E164, Command, an_operation, put, settled

from kros_mcp.commands import console
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.journal import Move
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.settings import load_settings

MAY = ("--since", "2026-05-01", "--until", "2026-05-31")
MAY_3 = datetime(2026, 5, 3, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
CANARY = "night\x1b[31m-desk"


both_journals = pytest.mark.parametrize("journal_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def environment(environment: pytest.MonkeyPatch, journal_url: str) -> pytest.MonkeyPatch:
    environment.setenv("KROS_API_KEY", "kros_test_books")
    if journal_url.startswith("postgres"):
        environment.setenv("KROS_PRINCIPAL", "local")
    return environment


@pytest.fixture(autouse=True)
def keyed(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return environment


def of_may_3(*, days: float = 0.0) -> Move:
    """Let an operation have been asked for, sent and settled in May."""
    at = MAY_3 + days * DAY

    def moved(operation: Operation, _now: float) -> Operation:
        settled_at = None if operation.settled_at is None else at + 1
        return replace(operation, created_at=at - 60, claimed_at=at, sent_at=at, settled_at=settled_at)

    return moved


def bought(journal_url: str, at: int, *, days: float = 0.0, state: Any = State.DONE, **changes: Any) -> Operation:
    draft = an_operation(e164=f"+23420155501{at:02d}", **changes)
    return put(journal_url, draft, *settled(state), of_may_3(days=days), own="account" not in changes)


def listed(journal_url: str, *numbers: PhoneNumber) -> None:
    async def keep() -> None:
        async with open_journal(journal_url) as journal:
            account, now = load_settings().account(journal.secret), await journal.now()
            await journal.keep(account, [], Listing(OwnedList(numbers, complete=True), now))

    anyio.run(keep)


def told(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()]


@both_journals
def test_days_have_their_sums_and_bars_and_what_is_not_known_stands_beside_them(
    command: Command, journal_url: str
) -> None:
    for at in range(3):
        bought(journal_url, at)
    bought(journal_url, 3, days=2, state=State.UNKNOWN)

    out = command("spending", *MAY).out

    rows = told(out)
    assert ["day", "charged", "not", "known", "numbers"] in rows
    assert ["2026-05-04", "0.00"] in rows
    [third] = [row for row in rows if row[:1] == ["2026-05-03"]]
    [fifth] = [row for row in rows if row[:1] == ["2026-05-05"]]
    assert third[1:3] == ["15.00", "+3"]
    assert fifth[1:3] == ["0.00", "5.00"]
    assert (set(third[3]), set(fifth[3])) == ({"▇"}, {"░"})
    assert len(third[3]) == 3 * len(fifth[3])
    assert ["total", "15.00", "5.00", "+3"] in rows
    assert "15.00 for 3 numbers bought." in out
    assert "Of 1 purchase, 5.00 in all, it is not known whether it was charged." in out
    assert "1 outcome, for 5.00 that may have been charged" in out


@both_journals
def test_the_documents_say_the_same_in_whole_cents(command: Command, journal_url: str) -> None:
    bought(journal_url, 0, principal="=1+1")
    bought(journal_url, 1, principal=CANARY, state=State.UNKNOWN)
    listed(journal_url, PhoneNumber("id", E164, "NG", monthly_cents=700))

    document = json.loads(command("spending", "--by", "principal", "--json", *MAY).out)
    ran = command("spending", "--by", "principal", "--csv", *MAY)

    assert (document["since"], document["until"], document["by"]) == ("2026-05-01", "2026-05-31", "principal")
    [account] = document["accounts"]
    groups = {group["principal"]: group for group in account["groups"]}
    assert (account["total"]["charged_cents"], account["total"]["unknown_cents"]) == (500, 500)
    assert (groups["=1+1"]["charged_cents"], groups["=1+1"]["unknown"]) == (500, 0)
    assert account["caps"]["daily_budget_cents"] == 20_000
    assert account["run_rate"]["monthly_cents"] == 700
    assert account["unknown"]["cents"] == 500
    assert "\x1b" not in ran.out + json.dumps(document)
    assert ran.out.count("\r\n") == 3
    rows = {row["principal"]: row for row in csv.DictReader(io.StringIO(ran.out, newline=""))}
    assert (rows["'=1+1"]["charged_cents"], rows["'=1+1"]["charged_amount"]) == ("500", "5.00")
    assert "What was spent from 2026-05-01 to 2026-05-31, by principal" in ran.err


def test_without_days_this_month_is_told_and_that_others_can_be_named(command: Command, journal_url: str) -> None:
    bought(journal_url, 0)
    this_month = datetime.now(UTC).strftime("%Y-%m")

    out = command("spending").out

    assert f"What was spent from {this_month}-01 to {this_month}" in " ".join(out.split())
    assert "--since and --until name other days." in " ".join(out.split())
    assert "0.00 for 0 numbers bought." in out
    by_month = json.loads(command("spending", "--by", "month", "--json").out)
    assert (int(by_month["until"][:4]) * 12 + int(by_month["until"][5:7])) - (
        int(by_month["since"][:4]) * 12 + int(by_month["since"][5:7])
    ) == 11


@both_journals
def test_what_the_caps_leave_and_how_the_cost_of_a_month_grew_is_told(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    keyed.setenv("KROS_CURRENCY", "USD")
    keyed.setenv("KROS_DAILY_BUDGET_CENTS", "2000")
    keyed.setenv("KROS_MONTHLY_COMMITMENT_CENTS", "3000")
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    released = an_operation(e164="+2342015550199", action=Action.RELEASE)
    put(journal_url, released, *settled(State.DONE), own=True)
    put(journal_url, an_operation(e164="+2342015550198"), own=True)
    listed(
        journal_url, PhoneNumber("id", E164, "NG", monthly_cents=500), PhoneNumber("2", "+491", "DE", monthly_cents=900)
    )

    out = " ".join(command("spending").out.split())

    for said in (
        "amounts in USD",
        "5.00 of 20.00 USD in the last 24 hours: 15.00 USD left.",
        "At most 30.00 USD a month for all numbers: 16.00 USD left.",
        "14.00 USD for 2 numbers, by KrosAI's list",
        "From 14.00 to 14.00 in that time: purchases added 5.00 USD; 1 release ended 5.00 USD.",
        "1 operation for 5.00 USD, the oldest for",
        "1 waits for an approver: kros-mcp approve ID",
    ):
        assert said in out


def test_a_principals_own_caps_are_told_where_these_settings_have_them(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    keyed.setenv("KROS_PRINCIPAL", "ana")
    keyed.setenv("KROS_PRINCIPAL_DAILY_BUDGET_CENTS", "800")
    keyed.setenv("KROS_PRINCIPAL_MONTHLY_COMMITMENT_CENTS", "900")
    keyed.setenv("KROS_TOTAL_DAILY_BUDGET_CENTS", "9000")
    put(journal_url, an_operation(principal="ana"), *settled(State.DONE), own=True)
    put(journal_url, an_operation(e164="+2342015550198"), *settled(State.DONE), own=True)

    out = " ".join(command("spending", "--principal", "ana").out.split())

    assert "10.00 of 200.00 in the last 24 hours: 190.00 left." in out
    assert "5.00 of 8.00 of the principal's own in the last 24 hours: 3.00 left." in out
    assert "10.00 of 90.00 of all accounts in the last 24 hours: 80.00 left." in out
    assert "At most 9.00 a month for the principal's numbers." in out
    assert "the principal's own" not in command("spending").out


def test_what_owned_numbers_cost_is_not_known_before_a_list_was_read_and_never_called_nothing(
    command: Command, journal_url: str
) -> None:
    bought(journal_url, 0)

    out = command("spending", *MAY).out

    assert "What owned numbers cost is not known here" in out
    assert json.loads(command("spending", *MAY, "--json").out)["accounts"][0]["run_rate"] is None


@both_journals
def test_what_makes_sums_less_than_the_truth_is_said(command: Command, journal_url: str) -> None:
    for at, currency in enumerate(("NGN", "USD")):
        stated = an_operation().quote
        bought(journal_url, at, quote=replace(stated, currency=currency, country=None))

    async def restored() -> None:
        async with open_journal(journal_url) as journal:
            await journal.mark_restored()

    before = command("spending", "--since", "2020-01-01", "--by", "country").out
    anyio.run(restored)
    after = " ".join(command("spending", *MAY).out.split())

    assert "Prices were stated in NGN and USD, which cannot be added" in before
    assert "This journal begins on 2026-05-03" in before
    assert "not stated" in before
    assert "may be missing" not in before
    assert "may be missing, as the journal was restored from a copy: kros-mcp reconcile enters them." in after


def test_a_release_whose_outcome_is_not_known_may_have_charged_nothing(command: Command, journal_url: str) -> None:
    bought(journal_url, 1, state=State.UNKNOWN, action=Action.RELEASE)
    alone = command("spending", *MAY).out
    bought(journal_url, 0, state=State.UNKNOWN)
    beside = " ".join(command("spending", *MAY).out.split())

    assert "1 outcome, of no purchase: kros-mcp operations" in alone
    assert "0.00 that may" not in alone
    assert "2 outcomes, 1 of purchases, for 5.00 that may have been charged" in beside


def test_what_was_bought_here_and_given_up_elsewhere_makes_no_negative_sum(command: Command, journal_url: str) -> None:
    bought(journal_url, 0)
    listed(journal_url)

    told = " ".join(command("spending", *MAY).out.split())
    document = json.loads(command("spending", *MAY, "--json").out)["accounts"][0]["run_rate"]

    assert "What they cost before is not known: what was bought and released here does not come to" in told
    assert "-5.00" not in told
    assert (document["at_beginning_cents"], document["growth_certain"]) == (None, False)


def test_what_is_in_another_currency_is_neither_added_nor_called_by_the_label(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_CURRENCY", "NGN")
    bought(journal_url, 0)
    dollars = PhoneNumber("id_9", "+2348035550109", "NG", status="active", monthly_cents=700, currency="USD")
    listed(journal_url, dollars)
    own = " ".join(command("spending", *MAY).out.split())
    listed(journal_url, dollars, replace(dollars, id="id_8", e164="+2348035550108", currency="NGN"))
    mixed = " ".join(command("spending", *MAY).out.split())
    document = json.loads(command("spending", *MAY, "--json").out)["accounts"][0]

    assert "5.00 NGN for 1 number bought." in own
    assert "7.00 USD for 1 number" in own
    assert "7.00 NGN" not in own
    assert "No sum for 2 numbers" in mixed
    assert "their prices are in NGN and USD, which cannot be added." in mixed
    assert "14.00" not in mixed
    assert "From " not in mixed.replace("What was spent from", "")
    assert (document["currency"], document["run_rate"]["currency"]) == ("NGN", None)
    assert document["run_rate"]["currencies"] == ["NGN", "USD"]
    assert document["run_rate"]["monthly_cents"] is None


@both_journals
def test_accounts_are_told_one_by_one_and_never_added(command: Command, journal_url: str) -> None:
    bought(journal_url, 0)
    bought(journal_url, 1, account="another")

    own, every = command("spending", *MAY).out, command("spending", *MAY, "--all-accounts").out

    assert own.count("Account ") == 1
    assert every.count("5.00 for 1 number bought.") == 2
    assert "10.00" not in every
    assert "Account another (test)" in every
    assert "Those of another account are not known here." in every


def test_without_a_key_every_account_is_told_and_no_cap_is_claimed(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    bought(journal_url, 0)
    keyed.delenv("KROS_API_KEY")

    ran = command("spending", *MAY)

    assert ran.code == 0
    assert "5.00 for 1 number bought." in ran.out
    assert "Which caps hold is not known here: set KROS_API_KEY" in ran.out


def test_one_principal_and_one_country_can_be_told_alone(command: Command, journal_url: str) -> None:
    bought(journal_url, 0, principal="tokens|night-desk")
    bought(journal_url, 1)

    by_holder = command("spending", *MAY, "--principal", "night-desk", "--country", "ng").out
    elsewhere = command("spending", *MAY, "--country", "DE").out

    assert "night-desk is tokens|night-desk here, of the tokens file." in by_holder
    assert "in NG" in by_holder
    assert "5.00 for 1 number bought." in by_holder
    assert "0.00 for 0 numbers bought." in elsewhere


@pytest.mark.parametrize("columns", [60, 80])
def test_it_fits_a_narrow_terminal_with_a_long_name(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch, columns: int
) -> None:
    keyed.setattr(console, "terminal_width", lambda: columns)
    keyed.setattr("kros_mcp.commands.spending_told.terminal_width", lambda: columns)
    bought(journal_url, 0, principal=f"https://login.example.com/|{'x' * 90}")
    bought(journal_url, 1, state=State.UNKNOWN)

    for by in ("day", "month", "principal", "country"):
        lines = command("spending", *MAY, "--by", by).out.splitlines()
        assert max(map(len, lines)) <= columns
        assert any("▇" in line for line in lines)
        assert any("░" in line for line in lines)


def test_bars_are_signs_where_standard_output_has_no_blocks(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    bought(journal_url, 0)
    bought(journal_url, 1, state=State.UNKNOWN)
    keyed.setattr(type(sys.stdout), "encoding", "ascii", raising=False)

    out = command("spending", *MAY).out

    assert "# charged  ? not known whether it was charged" in out
    assert "▇" not in out


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "May"),
        ("--by", "state"),
        ("--country", "Nigeria"),
        ("--csv", "--json"),
        ("--since", "2026-05-04", "--until", "2026-05-03"),
        ("--all-accounts", "--organization", "81b07e10-0000-4000-8000-000000000000"),
    ],
)
def test_what_cannot_be_told_is_a_usage_error(command: Command, words: tuple[str, ...]) -> None:
    ran = command("spending", *words)

    assert (ran.code, ran.out) == (2, "")
