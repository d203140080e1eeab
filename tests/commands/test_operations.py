import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from commands_doubles import E164, Command, an_operation, put, run_elsewhere, settled

from kros_mcp.commands import operations, selection
from kros_mcp.operations import journal, moves
from kros_mcp.operations.model import Action, Channel, Operation, Settlement, State

OTHER = "+2342015550101"


@pytest.fixture
def keyed(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    environment.setenv("KROS_API_KEY", "kros_test_books")
    return environment


def test_a_row_tells_when_who_what_how_much_how_and_why(command: Command, journal_url: str) -> None:
    now = time.time()
    put(
        journal_url,
        an_operation(principal="night desk", created_at=now),
        partial(moves.confirm, by="ana at a terminal", reason="agreed by phone"),
    )

    title, row, *_ = command("operations").out.splitlines()

    assert " ".join(title.split()) == "when (UTC) operation account what now a month state who confirmed reason"
    for part in (
        datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M"),
        f"buy {E164}",
        "5.00     5.00",
        "confirmed",
        "night desk",
        "approver: ana",
        "agreed by phone",
    ):
        assert part in row


def test_the_list_tells_what_waits_and_what_is_unknown_newest_first(command: Command, journal_url: str) -> None:
    lost = put(journal_url, an_operation(created_at=time.time() - 60), *settled(State.UNKNOWN))
    waiting = put(journal_url, an_operation(e164=OTHER, action=Action.RELEASE))

    listed = command("operations")

    assert listed.code == 0
    lines = listed.out.splitlines()
    assert waiting.id in lines[1]
    assert lost.id in lines[2]
    assert "1 waits for a person: kros-mcp approve ID" in listed.out
    only = command("operations", "--state", "unknown").out
    assert lost.id in only
    assert waiting.id not in only


def test_several_states_are_shown_together(command: Command, journal_url: str) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN))
    done = put(journal_url, an_operation(e164=OTHER), *settled(State.DONE))
    waiting = put(journal_url, an_operation(e164="+2342015550102"))

    out = command("operations", "--state", "unknown", "--state", "done").out

    assert lost.id in out
    assert done.id in out
    assert waiting.id not in out


def test_only_what_one_principal_asked_for_is_shown(command: Command, journal_url: str) -> None:
    mine = put(journal_url, an_operation(principal="night-desk"))
    other = put(journal_url, an_operation(principal="day-desk", e164=OTHER))

    out = command("operations", "--principal", "night-desk").out

    assert mine.id in out
    assert other.id not in out
    assert "asked for by night-desk" in out


def test_a_day_is_one_of_utc_from_its_first_second_to_its_last(command: Command, journal_url: str) -> None:
    midnight = datetime(2026, 5, 3, tzinfo=UTC).timestamp()
    ids = [
        put(journal_url, an_operation(created_at=at, expires_at=at + 1, e164=f"+23420155501{index:02d}")).id
        for index, at in enumerate((midnight - 1, midnight, midnight + 86_399, midnight + 86_400))
    ]

    out = command("operations", "--day", "2026-05-03").out

    assert [operation_id in out for operation_id in ids] == [False, True, True, False]
    assert "2 operations of 2026-05-03" in out


def test_days_are_bounded_on_both_sides_by_the_asking_or_by_the_sending(command: Command, journal_url: str) -> None:
    midnight = datetime(2026, 5, 3, tzinfo=UTC).timestamp()

    def sent_next_day(operation: Operation, _now: float) -> Operation:
        return replace(operation, sent_at=operation.created_at + 86_400)

    ids = [
        put(
            journal_url,
            an_operation(created_at=midnight + days * 86_400, e164=f"+23420155501{days + 10}"),
            *settled(State.DONE),
            sent_next_day,
        ).id
        for days in (-1, 0, 1)
    ]
    never_sent = put(journal_url, an_operation(created_at=midnight, expires_at=midnight + 1)).id

    asked = command("operations", "--since", "2026-05-02", "--until", "2026-05-03").out
    sent = command("operations", "--since", "2026-05-03", "--by", "sent").out

    assert [operation_id in asked for operation_id in (*ids, never_sent)] == [True, True, False, True]
    assert "3 operations from 2026-05-02 to 2026-05-03" in asked
    assert [operation_id in sent for operation_id in (*ids, never_sent)] == [True, True, True, False]
    assert "3 operations sent since 2026-05-03" in sent
    assert "1 operation sent on 2026-05-03" in command("operations", "--day", "2026-05-03", "--by", "sent").out


def test_acts_and_countries_are_filtered_by_and_that_is_said(command: Command, journal_url: str) -> None:
    mine = put(journal_url, an_operation()).id
    abroad = an_operation(e164=OTHER)
    put(journal_url, replace(abroad, quote=replace(abroad.quote, country="DE")))
    put(journal_url, an_operation(e164=OTHER, action=Action.RELEASE))

    out = command("operations", "--action", "buy", "--country", "ng").out

    assert mine in out
    assert "1 operation to buy, in NG, of all accounts" in out


def test_what_was_charged_is_told_of_all_that_is_filtered_and_not_of_the_page_alone(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    keyed.setenv("KROS_CURRENCY", "USD")
    for at, state in enumerate((State.DONE, State.DONE, State.UNKNOWN, State.FAILED)):
        put(journal_url, an_operation(e164=f"+23420155501{at:02d}"), *settled(state), own=True)
    put(journal_url, an_operation(), *settled(State.DONE))

    page = command("operations", "--limit", "1").out
    known = command("operations", "--state", "done").out
    every = command("operations", "--all-accounts").out

    assert (
        "Charged: 10.00 USD for 2 numbers bought; of 1 purchase, 5.00 in all, it is not known whether it was "
        "charged." in page
    )
    assert "Charged: 10.00 USD for 2 numbers bought." in known
    assert "some acc charged: 5.00 for 1 number bought." in every
    assert "15.00" not in every


def test_the_first_of_all_days_is_named_in_full(command: Command) -> None:
    assert command("operations", "--day", "0001-01-01").out.startswith("No operations of 0001-01-01, of all accounts")


def test_by_default_only_the_account_of_the_key_is_shown_and_the_others_are_counted(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    del keyed
    mine = put(journal_url, an_operation(), own=True)
    other = put(journal_url, an_operation())

    listed, every = command("operations").out, command("operations", "--all-accounts").out

    assert mine.id in listed
    assert other.id not in listed
    assert "1 of other accounts is hidden: --all-accounts shows it." in listed
    assert "1 waits for a person" in listed
    assert "account" not in listed.splitlines()[0]
    assert mine.id in every
    assert other.id in every
    assert "account" in every.splitlines()[0]
    assert "2 wait for a person" in every


def test_without_a_key_all_accounts_are_shown_and_that_is_said(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(account="one"))
    put(journal_url, an_operation(account="another"))

    out = command("operations").out

    assert "2 operations, of all accounts, since KROS_API_KEY is not set here" in out


def test_what_lies_beyond_the_limit_is_counted_and_how_to_see_it_is_said(command: Command, journal_url: str) -> None:
    for index in range(5):
        put(journal_url, an_operation(e164=f"+23420155501{index:02d}"))

    out = command("operations", "--limit", "2").out

    assert "2 of 5 operations" in out
    assert "3 more, older ones, are not shown: add --limit 5" in out
    assert "5 wait for a person" in out
    assert "not shown" not in command("operations", "--limit", "5").out


def test_what_waits_for_a_person_is_counted_only_so_far(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (selection, operations):
        monkeypatch.setattr(module, "MOST_COUNTED", 3)
    monkeypatch.setattr(journal, "_PAGE", 2)
    for index in range(3):
        put(journal_url, an_operation(e164=f"+23420155501{index:02d}"))
    put(journal_url, an_operation(e164="+2342015550110", channel=Channel.PROMPT))

    told = json.loads(command("operations", "--json").out)

    assert "3 or more wait for a person: kros-mcp approve ID" in command("operations").out
    assert (told["waiting_for_a_person"], told["waiting_for_a_person_or_more"]) == (3, True)


def test_a_limit_that_would_be_refused_is_not_advised(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_MOST_SHOWN", 2)
    for index in range(3):
        put(journal_url, an_operation(e164=f"+23420155501{index:02d}"))

    out = command("operations", "--limit", "2").out

    assert "1 more, older ones, are not shown: write all to a file with kros-mcp export" in out


def test_the_json_document_has_stable_names_integers_and_times_in_utc(
    command: Command, journal_url: str, keyed: pytest.MonkeyPatch
) -> None:
    keyed.setenv("KROS_CURRENCY", "USD")
    bought = put(journal_url, an_operation(created_at=1_777_800_000.5), *settled(State.DONE), own=True)
    put(journal_url, an_operation(created_at=1_777_700_000, expires_at=1_777_700_001, e164=OTHER), own=True)
    put(journal_url, an_operation())

    told = json.loads(command("operations", "--json", "--limit", "1").out)

    assert {name: told[name] for name in told if name != "operations"} == {
        "account": bought.account,
        "all_accounts": False,
        "principal": None,
        "total": 2,
        "more": 1,
        "hidden_of_other_accounts": 1,
        "waiting_for_a_person": 0,
        "waiting_for_a_person_or_more": False,
        "charged": [
            {
                "account": bought.account,
                "purchases": 1,
                "charged_cents": 500,
                "unknown": 0,
                "unknown_cents": 0,
                "currencies": [],
            }
        ],
        "pruned": [],
    }
    [row] = told["operations"]
    assert row["operation_id"] == bought.id
    assert row["asked_at"] == "2026-05-03T09:20:00Z"
    assert (row["due_now_cents"], row["monthly_cents"], row["charged_cents"], row["currency"]) == (500, 500, 500, "USD")
    assert (row["state"], row["confirmed_by"], row["confirmed_through"]) == ("done", "somebody", "approver")
    assert (row["reason"], row["allow_inbound"], row["not_applied"]) == (None, None, [])


def test_an_operation_that_was_corrected_is_marked_and_explained(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(e164=OTHER), *settled(State.DONE))
    assert "*" not in command("operations").out
    then = partial(moves.correct, settlement=Settlement(State.DONE), note="KrosAI shows it bought after all.")
    failed = put(journal_url, an_operation(), *settled(State.FAILED), then)

    out = command("operations").out

    [row] = [line for line in out.splitlines() if failed.id in line]
    assert " done* " in row
    assert "KrosAI shows it bought after all." in row
    assert out.count("done*") == 1
    assert "* another outcome was told at first, and corrected: kros-mcp operations ID tells when and why." in out
    rows = {row["operation_id"]: row for row in json.loads(command("operations", "--json").out)["operations"]}
    assert rows.pop(failed.id)["corrected_at"].endswith("Z")
    assert [row["corrected_at"] for row in rows.values()] == [None]
    story = command("operations", failed.id).out
    assert "corrected" in story
    assert "KrosAI shows it bought after all." in story


def test_an_empty_journal_says_so(command: Command) -> None:
    assert command("operations").out.startswith("No operations, of all accounts")
    assert command("operations", "--state", "unknown").out.startswith("No operations that are unknown,")
    assert json.loads(command("operations", "--json").out)["operations"] == []


def test_amounts_in_several_currencies_are_not_told_as_a_sum_to_believe(command: Command, journal_url: str) -> None:
    for at, currency in enumerate(("NGN", "USD", "USD", "EUR")):
        draft = an_operation(e164=f"{E164[:-1]}{at}")
        stated = replace(draft, quote=replace(draft.quote, currency=currency))
        put(journal_url, stated, *(settled(State.DONE) if at < 3 else ()))

    assert "Prices were stated in NGN and USD, which cannot be added: take no sum" in command("operations").out
    assert "Prices were stated" not in command("operations", "--state", "proposed").out
    assert json.loads(command("operations", "--json").out)["charged"][0]["currencies"] == ["NGN", "USD"]
    assert "amounts in several currencies." in command("operations").out
    assert "5.00 EUR" in command("operations").out
    assert "amounts in EUR." in command("operations", "--state", "proposed").out
    told = {row["currency"] for row in json.loads(command("operations", "--json").out)["operations"]}
    assert told == {"NGN", "USD", "EUR"}


def test_a_principals_name_cannot_rewrite_the_terminal(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(principal="\x1b[2Jroot\u202e\nforged line"))

    for words in (("operations",), ("operations", "--json")):
        out = command(*words).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "\nforged" not in out


@pytest.mark.parametrize(
    ("channel", "shown"),
    [(Channel.PROMPT, "asked by prompt"), (Channel.CODE, "asked by code"), (Channel.APPROVER, "waits for approver")],
)
def test_what_nobody_confirmed_yet_tells_how_the_person_is_asked(
    command: Command, journal_url: str, channel: Channel, shown: str
) -> None:
    put(journal_url, an_operation(channel=channel))

    out = command("operations").out

    assert shown in out
    assert ("waits for a person" in out) == (channel is Channel.APPROVER)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--state", "lost"), "unknown"),
        (("--day", "yesterday"), "2026-05-03"),
        (("--day", "2026-13-01"), "2026-05-03"),
        (("--day", "2026-05-03", "--since", "2026-05-03"), "--day goes without"),
        (("--since", "2026-05-04", "--until", "2026-05-03"), "no day lies between them"),
        (("--country", "Nigeria"), "write it as NG"),
        (("--limit", "0"), "--limit"),
        (("--limit", "100001"), "--limit"),
        (("--limit", "99999999999999999999"), "at most 100000. kros-mcp export writes any number."),
    ],
)
def test_a_malformed_filter_is_a_usage_error(command: Command, words: tuple[str, ...], said: str) -> None:
    ran = command("operations", *words)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


@pytest.mark.parametrize(("width", "colours"), [(80, True), (120, False)])
def test_on_a_terminal_every_line_fits_and_nothing_is_lost(
    journal_url: str, environment: pytest.MonkeyPatch, width: int, *, colours: bool
) -> None:
    put(
        journal_url,
        an_operation(principal="the night desk of the second floor"),
        partial(moves.confirm, by="ana (sudo by bertha) at a terminal", reason="agreed by phone with finance"),
    )
    environment.delenv("COLUMNS")
    environment.setenv("TERM", "xterm")
    if not colours:
        environment.setenv("NO_COLOR", "1")

    printed = run_at_a_terminal(width, "operations")

    plain = re.sub(r"\x1b\[\d+m", "", printed)
    table, _ = plain.split("\n\n")
    assert ("\x1b[36mconfirmed" in printed) == colours
    assert max(map(len, table.splitlines())) <= width
    assert "agreed by phone with finance" in " ".join(table.split())


def run_at_a_terminal(width: int, *words: str) -> str:
    """Run a command with a terminal of that many columns for its output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen([sys.executable, "-m", "kros_mcp", *words], stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        printed = b""
        with suppress(OSError):  # Linux says EIO at the end
            while read := os.read(ours, 65_536):
                printed += read
        os.close(ours)
        assert process.wait(timeout=20) == 0
    return printed.decode().replace("\r\n", "\n")


@pytest.mark.anyio
async def test_the_books_are_read_without_loading_the_sdk(journal_url: str) -> None:
    code, printed = await run_elsewhere("operations", KROS_JOURNAL_URL=journal_url, PYTHONVERBOSE="1")

    assert code == 0
    assert "import 'sqlite3'" in printed
    assert "import 'mcp'" not in printed
