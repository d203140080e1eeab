"""A copy of the journal taken while a server runs, and put back: no budget is at zero after it."""

# ruff: noqa: S608 - statements are built from constants; values go by marks

import json
import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from commands_doubles import Command, an_operation, put, read, settled

from kros_mcp.commands import person
from kros_mcp.errors import JournalError
from kros_mcp.journals import copies, journal_errors
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations import moves, restoration
from kros_mcp.operations.events import SERVER
from kros_mcp.operations.model import Operation, State, StoredNumber
from kros_mcp.operations.policy import Books
from kros_mcp.settings import load_settings
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.older_journals import SINCE_EVENTS

CANARY = "canary0a1b2c3d4e5f"
NUMBERS = [f"+234201555{end:04}" for end in range(100, 110)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.sqlite3"


def claimed(operation: Operation, now: float) -> Operation:
    return moves.claim(operation, now, reserved_cents=500)


def sending(*, sent: bool) -> tuple[Any, ...]:
    """Leave a purchase as a server does that is stopped in the middle of it."""
    return (claimed, partial(moves.mark_sent, token=1)) if sent else (claimed,)


def put_all(journal_url: str) -> dict[str, Operation]:
    """One operation of each kind, of this account."""
    kinds = {
        "waiting": (),
        "confirmed": (partial(moves.confirm, by="ana"),),
        "claimed": sending(sent=False),
        "sent": sending(sent=True),
        "unknown": settled(State.UNKNOWN),
        "done": settled(State.DONE),
    }
    return {
        kind: put(journal_url, an_operation(e164=e164), *then, own=True)
        for (kind, then), e164 in zip(kinds.items(), NUMBERS, strict=False)
    }


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("sim")
def test_a_backup_is_whole_private_and_new_while_the_journal_is_open(journal_url: str, copy: Path) -> None:
    operations = put_all(journal_url)

    async def back_up_while_open() -> Any:
        async with open_journal(journal_url) as journal:
            await journal.check_writable()
            return await anyio.to_thread.run_sync(copies.back_up, Path(journal_url.removeprefix("sqlite:///")), copy)

    assert anyio.run(back_up_while_open).operations == len(operations)
    assert mode_of(copy) == 0o600
    assert sorted(file.name for file in copy.parent.iterdir() if "copy" in file.name) == ["copy.sqlite3"]
    for operation in operations.values():
        assert read(f"sqlite:///{copy}", operation.id) == operation


@pytest.mark.usefixtures("sim")
def test_servers_write_while_a_backup_is_examined(
    command: Command, journal_url: str, journal: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(journal_url)
    examine = copies._whole  # noqa: SLF001 - the moment that matters is inside

    def written_meanwhile(connection: sqlite3.Connection, path: Path) -> copies.Copied:
        with closing(sqlite3.connect(journal, timeout=0)) as server:
            server.execute("UPDATE progress SET moves = moves + 1")
            server.commit()
        return examine(connection, path)

    monkeypatch.setattr(copies, "_whole", written_meanwhile)
    assert command("backup", str(copy)).code == 0


@pytest.mark.usefixtures("sim")
def test_a_copy_can_be_put_back_twice_within_a_second(
    command: Command, journal_url: str, journal: Path, copy: Path
) -> None:
    put_all(journal_url)
    command("backup", str(copy))

    assert [command("restore", str(copy), "--yes").code for _ in range(3)] == [0, 0, 0]
    assert len([file for file in journal.parent.iterdir() if "before-restore" in file.name]) == 3


@pytest.mark.usefixtures("sim")
def test_what_stands_beside_a_journal_is_set_aside_with_it(
    command: Command, journal_url: str, journal: Path, copy: Path
) -> None:
    put_all(journal_url)
    command("backup", str(copy))
    for end, content in (("-wal", b"of an older version"), ("-shm", b"")):
        journal.with_name(journal.name + end).write_bytes(content)

    assert command("restore", str(copy), "--yes").code == 0

    assert [file.name for file in journal.parent.iterdir() if file.name.endswith("-shm")] == []
    [kept] = [file for file in journal.parent.iterdir() if file.name.endswith("-wal")]
    assert "before-restore" in kept.name
    assert kept.read_bytes() == b"of an older version"


@pytest.mark.usefixtures("sim")
def test_a_journal_that_a_link_leads_to_is_put_back_where_it_stands(
    command: Command, journal_url: str, journal: Path, copy: Path, environment: pytest.MonkeyPatch
) -> None:
    operations = put_all(journal_url)
    command("backup", str(copy))
    link = journal.parent / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(journal)
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{link}")

    assert command("restore", str(copy), "--yes").code == 0

    assert link.is_symlink()
    assert [file.name for file in link.parent.iterdir()] == ["link.sqlite3"]
    for url in (journal_url, f"sqlite:///{link}"):
        assert read(url, operations["waiting"].id).state is State.EXPIRED


@pytest.mark.usefixtures("sim")
def test_a_backup_tells_how_much_it_holds_and_replaces_no_file(command: Command, journal_url: str, copy: Path) -> None:
    put_all(journal_url)

    ran = command("backup", str(copy))
    before = copy.read_bytes()
    again = command("backup", str(copy))

    assert (ran.code, again.code) == (0, 1)
    assert "holds 6 operations (0." in ran.out
    assert "there already" in again.err
    assert copy.read_bytes() == before
    assert sorted(file.name for file in copy.parent.glob(".*")) == []


def test_a_backup_of_no_journal_makes_none(command: Command, journal: Path, copy: Path) -> None:
    ran = command("backup", str(copy))

    assert ran.code == 2
    assert "There is no file" in ran.err
    assert not copy.exists()
    assert not journal.exists()


@pytest.mark.usefixtures("sim")
def test_after_a_restore_nothing_waits_nothing_is_being_sent_and_nothing_is_spent(
    command: Command, journal_url: str, journal: Path, copy: Path
) -> None:
    operations = put_all(journal_url)
    assert command("backup", str(copy)).code == 0
    put(journal_url, an_operation(e164=NUMBERS[7]), *settled(State.DONE), own=True)
    latest = journal.read_bytes()

    ran = command("restore", str(copy), "--yes")

    assert ran.code == 0
    assert "4 operations in it waited" in ran.out
    assert "kros-mcp reconcile" in ran.out
    [kept] = [file for file in journal.parent.iterdir() if "before-restore" in file.name]
    assert kept.read_bytes() == latest
    assert mode_of(journal) == 0o600
    states = {kind: read(journal_url, operation.id).state for kind, operation in operations.items()}
    assert states == {
        "waiting": State.EXPIRED,
        "confirmed": State.EXPIRED,
        "claimed": State.UNKNOWN,
        "sent": State.UNKNOWN,
        "unknown": State.UNKNOWN,
        "done": State.DONE,
    }
    assert read(journal_url, operations["claimed"].id).charged == "unknown"
    with pytest.raises(JournalError) as caught:
        put(journal_url, an_operation(e164=NUMBERS[8]), own=True)
    assert (caught.value.code, caught.value.charged) == (journal_errors.RESTORED, "no")
    assert "run `kros-mcp reconcile`" in caught.value.next_step


@pytest.mark.usefixtures("sim")
def test_a_server_that_used_the_journal_before_a_restore_spends_nothing_after_it(
    command: Command, journal_url: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(journal_url)
    command("backup", str(copy))
    monkeypatch.setattr(copies, "users", lambda _: ())

    async def restore_while_open() -> None:
        async with open_journal(journal_url) as journal:
            await journal.check_writable()
            await copies.put_back(copy, Path(journal_url.removeprefix("sqlite:///")), SERVER)
            with pytest.raises(JournalError, match="not the one that this server opened"):
                await journal.check_writable()

    anyio.run(restore_while_open)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.usefixtures("sim")
def test_a_restore_refuses_while_another_process_has_the_journal_open(
    command: Command, journal_url: str, journal: Path, copy: Path
) -> None:
    put_all(journal_url)
    command("backup", str(copy))
    before = journal.read_bytes()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.open(journal, os.O_RDONLY)
        os.write(writing, b".")
        os.read(os.pipe()[0], 1)
    os.read(reading, 1)
    try:
        ran = command("restore", str(copy), "--yes")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)

    assert ran.code == 1
    assert f"({child})" in ran.err
    assert journal.read_bytes() == before


@pytest.mark.usefixtures("sim")
def test_a_restore_wants_the_word_typed_at_a_terminal_or_yes(
    command: Command, journal_url: str, journal: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(journal_url)
    command("backup", str(copy))
    before = journal.read_bytes()

    without = command("restore", str(copy))
    monkeypatch.setattr(person, "sits_at_a_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    declined = command("restore", str(copy))
    unchanged = journal.read_bytes()
    monkeypatch.setattr("builtins.input", lambda _: "restore")
    typed = command("restore", str(copy))

    assert (without.code, declined.code, typed.code) == (1, 1, 0)
    assert "no terminal" in without.err
    assert "the journal is as it was" in declined.out
    assert unchanged == before != journal.read_bytes()


@pytest.mark.parametrize("kind", ["empty", "foreign", "damaged", "lacking", "missing", "itself"])
def test_what_is_no_copy_of_a_journal_is_not_restored(
    command: Command, journal_url: str, journal: Path, copy: Path, kind: str
) -> None:
    put(journal_url, an_operation())
    if kind == "empty":
        copy.touch()
    elif kind == "foreign":
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("CREATE TABLE t (x)")
    elif kind == "damaged":
        copy.write_bytes(journal.read_bytes()[:8192] + os.urandom(8192))
    elif kind == "lacking":
        command("backup", str(copy))
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("DELETE FROM progress")
            connection.commit()
    elif kind == "itself":
        copy = journal
    before = journal.read_bytes()

    ran = command("restore", str(copy), "--yes")

    assert ran.code == {"empty": 3, "foreign": 3, "damaged": 3, "lacking": 3, "missing": 2, "itself": 2}[kind]
    assert "Traceback" not in ran.err
    assert journal.read_bytes() == before


def test_a_file_that_cannot_be_reached_is_told_of_in_our_own_words(
    command: Command, journal_url: str, copy: Path, environment: pytest.MonkeyPatch
) -> None:
    put(journal_url, an_operation())
    command("backup", str(copy))
    unreachable = copy.with_name("n" * 300)  # as for a user who may not look into its folder

    ran = [command("restore", str(unreachable), "--yes"), command("backup", str(copy.with_name("other")))]
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{unreachable}")
    environment.setenv("KROS_READ_ONLY", "true")
    ran += [
        command("restore", str(copy), "--yes"),
        command("backup", str(copy.with_name("another"))),
        command("doctor"),
    ]

    assert [each.code for each in ran[:4]] == [3, 0, 3, 3]
    for each in (ran[0], *ran[2:]):
        assert "cannot be reached" in " ".join((each.out + each.err).split())


def test_a_journal_that_is_gone_can_be_restored(command: Command, journal_url: str, journal: Path, copy: Path) -> None:
    operation = put(journal_url, an_operation(), *settled(State.DONE))
    command("backup", str(copy))
    journal.unlink()

    assert command("restore", str(copy), "--yes").code == 0
    assert read(journal_url, operation.id).state is State.DONE


def own(sim: Simulator, at: int = 0, **changes: Any) -> SimNumber:
    """Let KrosAI have sold a number."""
    number = sim.buy(list(sim.inventory.values())[at], None)
    sim.owned[number.id] = number = replace(number, **changes)
    return number


async def spent(journal_url: str) -> int:
    async with open_journal(journal_url) as journal:
        account = load_settings().account(journal.secret)
        books: Books = await journal.books(account, "local", committed_since=0.0)
        return books.spent_cents


def test_reconcile_enters_what_was_bought_after_the_copy_and_lets_the_budget_count_it(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    known = own(sim)
    bought = put(
        journal_url, an_operation(e164=known.e164), *settled(State.DONE, number=StoredNumber(id=known.id)), own=True
    )
    old = own(sim, 1, created_at=datetime(2020, 1, 1, tzinfo=UTC).isoformat())
    command("backup", str(copy))
    since, undated = own(sim, 2), own(sim, 3, created_at="yesterday")
    assert command("restore", str(copy), "--yes").code == 0
    before = anyio.run(spent, journal_url)

    told = command("doctor")
    found = command("reconcile")
    again = command("reconcile")

    assert "restored from a copy" in " ".join(told.out.split())
    assert since.e164 in found.out
    assert undated.e164 in found.out
    assert "entered now" in " ".join(found.out.split())
    assert "entered now" not in " ".join(again.out.split())
    assert anyio.run(spent, journal_url) == before + sum(one.monthly_cost_cents for one in (since, undated))
    listed = command("operations", "--state", "done", "--json").out
    assert bought.id in listed
    [entered] = [one for one in json.loads(listed)["operations"] if one["e164"] == since.e164]
    [event] = json.loads(command("operations", entered["operation_id"], "--json").out)["events"]
    assert event["move"] == "entered"
    assert old.e164 not in listed
    assert put(journal_url, an_operation(e164=NUMBERS[8]), own=True).state is State.PROPOSED


HOUR = 3_600.0
TIMES = ("created_at", "confirmed_at", "claimed_at", "sent_at", "settled_at")


def entered_now(command: Command) -> str:
    """Reconcile, and give what it says of the purchases that it has entered."""
    findings = json.loads(command("reconcile", "--json").out)["findings"]
    [what] = [finding["what"] for finding in findings if finding["kind"] == "entered"]
    return str(what)


def hours_ago(count: float) -> str:
    return datetime.fromtimestamp(time.time() - count * HOUR, UTC).isoformat()


def was_last_written(copy: Path, hours: float, *, boot: str, ahead: float = 0.0) -> None:
    """Let a copy be as old as that, from a boot of some machine whose journal was ahead of its wall clock."""
    at = time.time() - hours * HOUR + ahead
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE progress SET moved_at = ?, boot = ?, ahead = ?", (at, boot, -ahead))
        connection.execute(f"UPDATE operations SET {', '.join(f'{name} = ?' for name in TIMES)}", [at] * len(TIMES))
        connection.commit()


@pytest.mark.parametrize("boot", ["of another machine", "of an earlier version"])
def test_a_copy_that_is_put_back_on_a_new_machine_or_after_a_new_start_forgets_nothing_bought_since(
    command: Command, journal_url: str, copy: Path, sim: Simulator, boot: str
) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    was_last_written(copy, 2.0, boot=boot)
    if boot == "of an earlier version":
        with closing(sqlite3.connect(copy)) as connection:
            connection.executescript(
                "DROP TABLE progress; DROP TABLE operation_events; DROP TABLE request_counts; DROP INDEX watched"
            )
            connection.executescript(
                "DROP TABLE owned_numbers; DROP TABLE owned_lists; DROP TABLE outbox; DROP TABLE listeners"
            )
            connection.executescript(
                "DROP TABLE organizations; DROP INDEX spent_by_all; DROP INDEX of_batch; DROP INDEX batches"
            )
            for column in SINCE_EVENTS:
                connection.execute(f"ALTER TABLE operations DROP COLUMN {column}")
            connection.execute("PRAGMA user_version = 2")
    since = own(sim, 2, created_at=hours_ago(1.0))

    assert command("restore", str(copy), "--yes").code == 0

    assert since.e164 in entered_now(command)
    assert anyio.run(spent, journal_url) >= since.monthly_cost_cents


def test_what_was_bought_and_given_up_since_the_copy_counts_in_the_budget_too(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    put(journal_url, an_operation(e164=NUMBERS[9]), *settled(State.DONE), own=True)
    command("backup", str(copy))
    was_last_written(copy, 2.0, boot="of another machine")
    known = anyio.run(spent, f"sqlite:///{copy}")  # somebody has looked into the copy
    given_up = own(sim, 2, created_at=hours_ago(1.0), status="released")
    own(sim, 3, created_at=hours_ago(1.0), status="rejected")
    own(sim, 4, created_at="yesterday", status="released")
    own(sim, 5, created_at=hours_ago(3.0), status="released")
    assert command("restore", str(copy), "--yes").code == 0

    assert entered_now(command).endswith(f"entered now: {given_up.e164}.")

    assert anyio.run(spent, journal_url) == known + given_up.monthly_cost_cents
    again = json.loads(command("reconcile", "--json").out)["findings"]
    assert not [each for each in again if each["e164"] == given_up.e164]


def test_a_journal_whose_time_was_ahead_of_the_clock_forgets_nothing_bought_since_its_copy(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    was_last_written(copy, 2.0, boot="whose clock was set back", ahead=5 * HOUR)
    since = own(sim, 2, created_at=hours_ago(1.0))

    assert command("restore", str(copy), "--yes").code == 0

    assert since.e164 in entered_now(command)


@pytest.mark.parametrize(("created_at", "may_be_new"), [("2027-01-15", True), ("2027-01-14", False)])
def test_a_number_that_is_dated_by_the_day_alone_may_be_bought_until_that_day_ends(
    created_at: str, may_be_new: bool
) -> None:
    number = PhoneNumber(id="pn_1", e164=NUMBERS[0], created_at=created_at)
    copied_at = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()

    assert restoration.unknown_to((), number, copied_at) is may_be_new


def test_a_copy_of_a_journal_that_lacks_purchases_still_lacks_them_when_it_is_put_back(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    was_last_written(copy, 5.0, boot="earlier")
    since = own(sim, 2, created_at=hours_ago(4.0))
    later = copy.with_name("later.sqlite3")
    assert command("restore", str(copy), "--yes").code == 0
    command("backup", str(later))
    was_last_written(later, 3.0, boot="later")

    assert command("restore", str(later), "--yes").code == 0

    assert since.e164 in entered_now(command)


def test_an_account_that_was_completed_lacks_only_what_was_bought_since_the_next_copy(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    was_last_written(copy, 5.0, boot="earlier")
    assert command("restore", str(copy), "--yes").code == 0
    command("reconcile")
    later = copy.with_name("later.sqlite3")
    command("backup", str(later))
    was_last_written(later, 3.0, boot="later")
    outside, since = own(sim, 2, created_at=hours_ago(4.0)), own(sim, 3, created_at=hours_ago(1.0))

    assert command("restore", str(later), "--yes").code == 0

    entered = entered_now(command)
    assert since.e164 in entered
    assert outside.e164 not in entered


def test_a_reading_that_is_not_complete_leaves_the_account_closed(
    command: Command, journal_url: str, copy: Path, sim: Simulator
) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    command("restore", str(copy), "--yes")
    sim.faults.switch_on("error_before", times=None, on=["list_owned"])

    assert command("reconcile").code in {1, 4}
    with pytest.raises(JournalError):
        put(journal_url, an_operation(e164=NUMBERS[8]), own=True)


@pytest.mark.usefixtures("sim")
def test_each_account_is_closed_until_its_own_reconcile(command: Command, journal_url: str, copy: Path) -> None:
    put(journal_url, an_operation(), *settled(State.DONE), own=True)
    command("backup", str(copy))
    command("restore", str(copy), "--yes")
    assert command("reconcile").code in {0, 1}

    put(journal_url, an_operation(e164=NUMBERS[8]), own=True)
    with pytest.raises(JournalError):
        put(journal_url, an_operation(e164=NUMBERS[8], account="another account"))


class TestInPostgres:
    @pytest.fixture
    def journal_url(self, postgres_url: str) -> str:
        return postgres_url.replace("//postgres@", f"//postgres:{CANARY}@")

    def test_its_own_programs_are_named_with_all_but_the_password(
        self, command: Command, journal_url: str, copy: Path
    ) -> None:
        backup, restore = command("backup", str(copy)), command("restore", str(copy), "--yes")

        assert (backup.code, restore.code) == (1, 1)
        assert f"pg_dump --format=custom --schema=kros_mcp --file={copy} --dbname='" in backup.out
        assert "pg_restore --clean --if-exists --dbname='" in restore.out
        assert "user=postgres" in backup.out
        assert CANARY not in backup.out + restore.out
        assert not copy.exists()
        assert journal_url

    def test_after_pg_restore_the_same_holds_as_for_a_file(
        self, command: Command, journal_url: str, sim: Simulator
    ) -> None:
        operations = put_all(journal_url)

        async def restored_while_open() -> None:
            async with open_journal(journal_url) as journal:
                await journal.check_writable()
                code = await anyio.to_thread.run_sync(lambda: command("restore", "--after-pg-restore", "--yes").code)
                assert code == 0
                with pytest.raises(JournalError, match="put back to an earlier state"):
                    await journal.check_writable()

        anyio.run(restored_while_open)
        assert read(journal_url, operations["waiting"].id).state is State.EXPIRED
        assert read(journal_url, operations["claimed"].id).state is State.UNKNOWN
        with pytest.raises(JournalError):
            put(journal_url, an_operation(e164=NUMBERS[8]), own=True)
        number = own(sim)
        assert number.e164 in command("reconcile").out
        put(journal_url, an_operation(e164=NUMBERS[8]), own=True)

    def test_a_restore_that_is_marked_late_or_twice_forgets_nothing_bought_since_the_copy(
        self, command: Command, journal_url: str, sim: Simulator
    ) -> None:
        put(journal_url, an_operation(), *settled(State.DONE), own=True)
        with psycopg.connect(journal_url, autocommit=True) as connection:
            at = time.time() - 2 * HOUR
            connection.execute("UPDATE kros_mcp.progress SET moved_at = %s, boot = ''", (at,))
            assigned = ", ".join(f"{name} = %s" for name in TIMES)
            connection.execute(f"UPDATE kros_mcp.operations SET {assigned}".encode(), [at] * len(TIMES))
        since = own(sim, 2, created_at=hours_ago(1.0))

        async def used() -> None:
            async with open_journal(journal_url) as journal:
                await journal.check_writable()

        anyio.run(used)
        for _ in range(2):
            assert command("restore", "--after-pg-restore", "--yes").code == 0

        assert since.e164 in entered_now(command)

    def test_a_database_that_was_put_back_underneath_a_server_is_noticed(self, journal_url: str) -> None:
        async def put_back() -> None:
            async with open_journal(journal_url) as journal:
                await journal.check_writable()
                with psycopg.connect(journal_url, autocommit=True) as connection:
                    connection.execute("UPDATE kros_mcp.progress SET moves = moves - 1")
                for _ in range(2):
                    with pytest.raises(JournalError, match="put back to an earlier state"):
                        await journal.check_writable()
                    with psycopg.connect(journal_url, autocommit=True) as connection:
                        connection.execute("UPDATE kros_mcp.progress SET moves = moves + 100")

        anyio.run(put_back)
