"""`kros-mcp prune`: what it shows, asks and deletes, what the books say of that later, and the room that it gives back.

What it may delete is in `tests/money/test_pruning.py`.
"""

import json
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from commands_doubles import Command, an_operation, put, settled
from test_approve import types

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Action, Operation, Outcome, Request, State, StoredNumber
from kros_mcp.operations.pruning import YOUNGEST_DAYS
from kros_mcp.simulator import Simulator
from tests.money.expenditure_bench import ended, enter

__all__ = ["types"]

DAY = 86_400.0
OLD_DAYS = 100
GONE = "+2342015550101"
RECORD = StoredNumber(id="pn_1")


@pytest.fixture
def journal_url(request: pytest.FixtureRequest) -> str:
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


def day(days_ago: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days_ago)).isoformat()


def old(url: str, e164: str, state: Outcome = State.DONE, *, days: float = OLD_DAYS, **changes: object) -> Operation:
    """Something that ended that long ago, of this account."""

    def aged(operation: Operation, now: float) -> Operation:
        then = now - days * DAY
        return replace(operation, created_at=then, confirmed_at=then, claimed_at=then, sent_at=then, settled_at=then)

    operation = replace(an_operation(e164=e164), **changes)  # type: ignore[arg-type]  # fields of an operation
    return put(url, operation, *settled(state, number=RECORD), aged, own=True)


@pytest.fixture
def books(journal_url: str, sim: Simulator) -> dict[str, Operation]:
    """A number bought and given up long ago, one that is owned still, and a purchase of today."""
    owned = sim.buy(next(iter(sim.inventory.values())), None)
    release = {"action": Action.RELEASE, "request": Request(number_id=RECORD.id)}
    return {
        "bought": old(journal_url, GONE),
        "given up": old(journal_url, GONE, days=OLD_DAYS - 1, **release),
        "refused": old(journal_url, GONE, State.FAILED, days=OLD_DAYS + 1),
        "owned": old(journal_url, owned.e164),
        "today": old(journal_url, "+2342015550109", State.FAILED, days=0),
    }


def ids(command: Command) -> set[str]:
    return {
        one["operation_id"] for one in json.loads(command("operations", "--json", "--limit", "99").out)["operations"]
    }


def in_order(path: Path) -> list[str]:
    """The operations in the order in which they were stored, by which those of a batch are told."""
    with closing(sqlite3.connect(path)) as connection:
        return [id_ for (id_,) in connection.execute("SELECT id FROM operations ORDER BY rowid")]


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("journal_url", ["sqlite", "postgres"], indirect=True)
def test_it_shows_what_would_go_and_how_to_keep_it_and_deletes_after_the_word_was_typed(
    command: Command, books: dict[str, Operation], types: list[str]
) -> None:
    reconciled = command("reconcile", "--json").out
    dry = command("prune", "--before", day(50), "--dry-run")
    types += ["no"]
    left = command("prune", "--before", day(50))
    everything = ids(command)
    types += ["prune"]
    ran = command("prune", "--before", day(50))

    assert (dry.code, left.code, ran.code) == (0, 1, 0)
    assert everything == {operation.id for operation in books.values()}
    assert ids(command) == {books["owned"].id, books["today"].id}
    for shown in (dry, left, ran):
        text = flat(shown.out)
        assert f"Of the 5 operations of the journal 3 had ended before {day(50)}, and nothing needs them" in text
        assert f"buy done 1 5.00 {day(OLD_DAYS)} {day(OLD_DAYS)}" in text
        assert "Charged for these, in all: 5.00" in text
        assert "1 stays: younger, open, or still looked after." in text
        assert "1 stays: of numbers that are owned, or not known to be given up." in text
        assert f"kros-mcp export --all-accounts --until {day(51)} --output until-{day(51)}.csv" in text
    assert "This was a dry run." in dry.out
    assert "Nothing was deleted." in left.out
    assert "Deleted 3 of 3 operations" in ran.out
    after = json.loads(command("reconcile", "--json").out)
    told = [one for one in after["findings"] if one["kind"] == "pruned"]
    assert [one["what"] for one in told] == [
        next(line for line in command("operations").out.splitlines() if line.startswith("Pruned"))
    ]
    assert "3 operations that had ended" in told[0]["what"]
    before = json.loads(reconciled)
    for document in (before, after):
        document.pop("read_at")
    after["findings"] = [one for one in after["findings"] if one["kind"] != "pruned"]
    assert after == before


def test_the_books_say_what_they_lack_only_where_they_would_show_it(
    command: Command, books: dict[str, Operation]
) -> None:
    command("reconcile")
    assert command("prune", "--before", day(50), "--yes").code == 0

    [pruned] = json.loads(command("operations", "--json").out)["pruned"]
    assert (pruned["operations"], pruned["charged_cents"]) == (3, 500)
    assert pruned["before"].startswith(day(50))
    assert pruned["account"] == books["owned"].account
    assert "Pruned" in command("export").err
    assert "Pruned" not in command("export", "--since", day(60)).err
    assert "Pruned" not in command("operations", "--day", day(1)).out
    # what was asked for weeks before may have been sent in those days
    assert "Pruned" not in command("export", "--since", day(75)).err
    assert "Pruned" in command("export", "--since", day(75), "--by", "sent").err

    days = ("spending", "--since", day(150))
    assert "Pruned, and in no list or sum: 3 operations" in flat(command(*days).out)
    assert f"account {books['owned'].account[:8]}: Pruned" in command(*days, "--csv").err
    assert json.loads(command(*days, "--json").out)["accounts"][0]["pruned"] == [pruned]
    assert "Pruned" not in command("spending", "--since", day(50)).out


def test_what_was_pruned_of_several_accounts_is_not_added_up(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_CURRENCY", "USD")
    declined = {"state": State.DECLINED, "charged": "no", "settled_at": None}

    async def store() -> None:
        async with open_journal(journal_url) as journal:
            now = await journal.now()
            long_ago = [
                ended(at, None, account=account, created_at=now - OLD_DAYS * DAY, **declined)
                for at, account in enumerate("ab")
            ]
            await enter(journal, *long_ago, ended(2, None, created_at=now, **declined))

    anyio.run(store)
    command("prune", "--before", day(50), "--yes")

    assert "2 operations that had ended before" in command("operations", "--all-accounts").out
    for words in (("operations", "--all-accounts"), ("export", "--all-accounts")):
        ran = command(*words)
        _, told = flat(ran.out + ran.err).split("Pruned")
        assert "of 2 accounts; last by" in told
        assert "USD" not in told


def test_without_a_reading_of_today_what_was_sent_stays(command: Command, books: dict[str, Operation]) -> None:
    ran = command("prune", "--before", day(50), "--yes")

    assert ran.code == 0
    assert ids(command) == {operation.id for operation in books.values()}
    assert "3 stay: of accounts whose numbers were not read whole within a day." in flat(ran.out)
    assert "Run kros-mcp reconcile for each account first" in flat(ran.out)


@pytest.mark.usefixtures("books")
def test_a_day_that_is_needed_still_no_terminal_or_a_server_that_only_reads_is_refused(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    everything = ids(command)
    command("reconcile")

    too_late = command("prune", "--before", day(YOUNGEST_DAYS - 1), "--yes")
    no_day = command("prune", "--before", "spring", "--yes")
    no_terminal = command("prune", "--before", day(50))
    environment.setenv("KROS_READ_ONLY", "true")
    only_reads = command("prune", "--before", day(50), "--yes")

    assert [ran.code for ran in (too_late, no_day, no_terminal, only_reads)] == [2, 2, 1, 1]
    assert f"--before may be {day(YOUNGEST_DAYS)} at the latest" in too_late.err
    assert ids(command) == everything


def test_a_journal_whose_time_was_set_ahead_makes_nothing_old(
    command: Command, journal_url: str, books: dict[str, Operation]
) -> None:
    command("reconcile")
    with closing(sqlite3.connect(journal_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE progress SET moved_at = moved_at + ?", (400 * DAY,))
        connection.commit()

    assert command("prune", "--before", day(0), "--yes").code == 2
    assert ids(command) == {operation.id for operation in books.values()}


def test_the_file_gets_smaller_stays_the_same_file_and_an_earlier_copy_brings_all_back(
    command: Command, journal_url: str, books: dict[str, Operation], tmp_path: Path
) -> None:
    path = Path(journal_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection:  # as large as a journal of some years
        connection.execute("UPDATE operations SET note = hex(zeroblob(400000)) WHERE id = ?", (books["bought"].id,))
        connection.commit()
    inode, size = path.stat().st_ino, path.stat().st_size
    copy = tmp_path / "copy.sqlite3"
    command("reconcile")
    command("backup", str(copy))

    order = [id_ for id_ in in_order(path) if id_ in {books["owned"].id, books["today"].id}]
    with path.open("rb"):  # as a server has it
        words = [sys.executable, "-m", "kros_mcp", "prune", "--before", day(50), "--yes"]
        beside = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "are free for new operations. To make it smaller, end what uses it" in beside.stdout
    assert path.stat().st_size == size
    _, _, shown = flat(beside.stdout).partition("and run: python3 ")
    assert shlex.split(shown)[2] == str(path)
    ran = command("prune", "--before", day(50), "--yes")

    assert "none had ended" in ran.out
    assert "were given back to the disk." in ran.out
    assert path.stat().st_size < size / 4
    assert path.stat().st_ino == inode
    assert in_order(path) == order
    assert command("restore", str(copy), "--yes").code == 0
    assert ids(command) == {operation.id for operation in books.values()}
    assert "Pruned" not in command("operations").out
    assert command("reconcile").code == 0
