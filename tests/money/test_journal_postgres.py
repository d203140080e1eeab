"""What PostgreSQL adds to the contract: its time, its locks, its migrations, and the ways in which it fails."""

# ruff: noqa: S608 - statements of these tests, in databases of their own

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import psycopg
import pytest
from bench import CANARY, OTHER_MOBILES, YES, Bench, open_bench, simulator

from kros_mcp.errors import JournalError, KrosError, OutcomeUnknownError, SettingsError
from kros_mcp.journals import postgres, postgres_schema
from kros_mcp.journals.backends import open_journal, place
from kros_mcp.journals.postgres_address import Address
from kros_mcp.operations import moves
from kros_mcp.operations.model import Operation, State
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import transport
from tests.support.postgres_server import PostgresServer
from tests.support.wheels import require_wheel

pytestmark = pytest.mark.anyio

LOCKED = "locked by another process; nothing can be spent until it lets go"


class Database:
    """A database and a superuser in it, for what happens to a server behind the journal's back."""

    def __init__(self, url: str, server: PostgresServer) -> None:
        self.url = url.replace("//postgres@", f"//postgres:{CANARY}@")  # trusted without it; it may show nowhere
        self.name = urlsplit(url).path.removeprefix("/")
        self._server = server.connection

    def run(self, sql: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else None

    def alter(self, sql: str) -> None:
        """Change the database, and end all its sessions, so that it holds for every one."""
        self._server.execute(f"ALTER DATABASE {self.name} {sql}".encode())
        self._server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {self._mine}".encode())

    def sessions(self) -> list[int]:
        return [pid for (pid,) in self._server.execute(f"SELECT pid FROM pg_stat_activity {self._mine}".encode())]

    @property
    def _mine(self) -> str:
        return f"WHERE datname = '{self.name}' AND backend_type = 'client backend'"


MIGRATED = [(number,) for number in range(1, len(postgres_schema.MIGRATIONS) + 1)]


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    with postgres_server.new_database() as url:
        yield Database(url, postgres_server)


def with_option(database: Database, name: str, value: str) -> str:
    return f"{database.url}&options={quote(f'-c {name}={value}')}"


async def test_the_time_is_the_databases_and_not_this_machines(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_journal(database.url) as journal:
        before = time.time()
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert before - 60 < await journal.now() < before + 60


async def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_was(database: Database) -> None:
    async with open_journal(database.url):
        pass
    database.run("INSERT INTO kros_mcp.migrations VALUES (99, now())")
    with pytest.raises(JournalError, match="newer kros-mcp; update this one"):
        async with open_journal(database.url):
            pass
    assert database.run("SELECT number FROM kros_mcp.migrations ORDER BY number") == [*MIGRATED, (99,)]


async def test_a_journal_is_made_and_migrated_once_however_many_open_it_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = []

    async def open_it() -> None:
        async with open_journal(database.url) as journal:
            secrets.append(journal.secret)
            await journal.check_writable()

    async def open_it_many_times() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(open_it)

    await open_it_many_times()
    newer = (
        *postgres_schema.MIGRATIONS,
        "CREATE TABLE kros_mcp.later (x INTEGER); INSERT INTO kros_mcp.later VALUES (1)",
    )
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", newer)
    await open_it_many_times()
    assert (len(secrets), len(set(secrets))) == (16, 1)
    assert database.run("SELECT number FROM kros_mcp.migrations ORDER BY number") == [*MIGRATED, (len(MIGRATED) + 1,)]
    assert database.run("SELECT x FROM kros_mcp.later") == [(1,)]


async def test_a_migration_that_fails_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose()
    broken = (*postgres_schema.MIGRATIONS, "DROP TABLE kros_mcp.meta; SELECT nonsense")
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", broken)
    with pytest.raises(JournalError, match="nothing can be spent"):
        async with open_journal(database.url):
            pass
    monkeypatch.undo()
    async with open_journal(database.url) as journal:
        assert await journal.get(operation.id) == operation


async def test_a_database_that_may_forget_what_it_confirmed_is_refused(database: Database) -> None:
    with pytest.raises(JournalError, match="synchronous_commit off, so a crash could lose"):
        async with open_journal(with_option(database, "synchronous_commit", "off")):
            pass


async def test_a_database_without_durable_files_is_refused() -> None:
    from tests.support.postgres_server import WHEEL, open_postgres_server  # noqa: PLC0415 - starts a server of its own

    require_wheel(WHEEL)
    with open_postgres_server(durable=False) as server, pytest.raises(JournalError, match="fsync off"):
        async with open_journal(server.url()):
            pass


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{CANARY}@127.0.0.1:1/journal",
        f"postgresql://user:{CANARY}@/journal?host=/nowhere",
        f"postgresql://user:{CANARY}@127.0.0.1:1/journal?nonsense=1",
        f"postgresql://user:{CANARY}@[half/journal",
    ],
)
async def test_a_database_that_cannot_be_reached_is_told_without_its_password(url: str) -> None:
    with pytest.raises(JournalError, match="nothing can be spent") as caught:
        async with open_journal(url):
            pass
    assert caught.value.exit_code == 3
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_a_user_who_may_not_make_the_tables_is_told_what_is_lacking(
    database: Database, postgres_server: PostgresServer
) -> None:
    postgres_server.connection.execute("DROP ROLE IF EXISTS guest")
    postgres_server.connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(JournalError, match="CREATE on the database"):
        async with open_journal(database.url.replace(f"postgres:{CANARY}@", "guest@")):
            pass


async def test_a_user_who_does_not_own_the_tables_of_an_earlier_version_is_told_who_has_to_start_first(
    database: Database,
) -> None:
    async with open_journal(database.url):
        pass
    with psycopg.connect(database.url, autocommit=True) as connection:
        tables = ("operation_events", "progress", "request_counts", "organizations", "owned_lists", "owned_numbers")
        connection.execute(f"DROP TABLE {', '.join(f'kros_mcp.{name}' for name in tables)}")
        connection.execute("DELETE FROM kros_mcp.migrations WHERE number >= 2")
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA kros_mcp TO guest")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA kros_mcp TO guest")
    try:
        with pytest.raises(JournalError, match="version, its tables' owner"):
            async with open_journal(database.url.replace(f"postgres:{CANARY}@", "guest@")):
                pass
    finally:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY guest")
            connection.execute("DROP ROLE guest")


async def test_who_may_only_read_can_read_the_books_and_spends_nothing(
    database: Database, postgres_server: PostgresServer
) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose()
    postgres_server.connection.execute("DROP ROLE IF EXISTS auditor")
    postgres_server.connection.execute("CREATE ROLE auditor LOGIN")
    database.run("GRANT USAGE ON SCHEMA kros_mcp TO auditor")
    database.run("GRANT SELECT ON ALL TABLES IN SCHEMA kros_mcp TO auditor")
    as_auditor = database.url.replace(f"postgres:{CANARY}@", "auditor@")
    for url in (as_auditor, with_option(database, "default_transaction_read_only", "on")):
        async with open_journal(url) as journal:
            assert await journal.list_operations() == (operation,)
            with pytest.raises(JournalError, match="nothing can be spent"):
                await journal.check_writable()
    database.run("DROP OWNED BY auditor")


async def test_a_database_that_knows_no_encoding_keeps_the_books_all_the_same(postgres_server: PostgresServer) -> None:
    """It answers in bytes unless it is told otherwise, and a row that cannot be read would be a budget forgotten."""
    with postgres_server.new_database("SQL_ASCII") as url:
        async with open_bench(simulator(), journal_url=url) as bench:
            proposed = await bench.propose()
            assert await bench.account.journal.list_operations() == (proposed,)


_FREEZING_AT_THE_START = """
import anyio, os, signal, sys
from kros_mcp.errors import JournalError
from kros_mcp.journals import postgres_schema
from kros_mcp.journals.backends import open_journal, place
reading, seen = postgres_schema._version, []
async def freeze(connection):
    seen.append(1)
    if len(seen) == 2:  # the first is read without the lock
        os.kill(os.getpid(), signal.SIGSTOP)
    return await reading(connection)
postgres_schema._version = freeze
async def main(url):
    try:
        async with open_journal(url):
            pass
    except JournalError:
        sys.exit(7)
anyio.run(main, *sys.argv[1:])
"""


async def test_a_process_frozen_while_it_makes_the_tables_holds_no_other_start_up_for_long(database: Database) -> None:
    program = [sys.executable, "-c", _FREEZING_AT_THE_START, database.url]
    async with await anyio.open_process(program, stderr=None) as child:
        with anyio.fail_after(20):
            while _state_of(child.pid) != "T":
                await anyio.lowlevel.checkpoint()
            async with open_journal(database.url) as journal:
                await journal.check_writable()
            os.kill(child.pid, signal.SIGCONT)
            assert await child.wait() == 7


async def test_reads_that_are_cancelled_leave_every_connection_usable(database: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - must repeat, guards nothing
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose()
        journal = bench.account.journal

        async def read_and_give_up() -> None:
            for _ in range(60):
                with anyio.move_on_after(chance.choice([0, 0.0005, 0.001, 0.002, 0.004])), suppress(JournalError):
                    await journal.get(operation.id)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(read_and_give_up)
        with anyio.fail_after(postgres.ANSWER_SECONDS):
            async with anyio.create_task_group() as tasks:
                for _ in range(12):
                    tasks.start_soon(journal.get, operation.id)


async def test_what_keeps_a_database_away_is_told_in_our_own_words(
    database: Database, postgres_server: PostgresServer
) -> None:
    postgres_server.connection.execute("DROP ROLE IF EXISTS locked_out")
    postgres_server.connection.execute("CREATE ROLE locked_out NOLOGIN")
    told = {
        database.url.replace(f"postgres:{CANARY}@", "unknown@"): "does not know this user",
        database.url.replace(f"postgres:{CANARY}@", "locked_out@"): "refuses this user",
        database.url.replace(database.name, "nowhere"): "does not exist on its server",
        "postgresql://127.0.0.1:1/kros": "nothing listens at its address",
        "postgresql:///kros?host=/nowhere": "nothing listens at its socket",
        f"{database.url}&nonsense=1": "address or its tables cannot be used",
    }
    for url, words in told.items():
        with pytest.raises(JournalError, match=words):
            async with open_journal(url):
                pass


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://kros:4711/{CANARY}@127.0.0.1:1/kros",
        f"postgresql://kros:/{CANARY}@127.0.0.1/kros",
        f"postgresql://kros:12#{CANARY}@127.0.0.1/kros",
        f"postgresql://kros:12?{CANARY}@127.0.0.1/kros",
        f"postgresql:///kros?password={CANARY}",
        f"postgresql://[{CANARY}",
    ],
)
def test_where_a_journal_stands_is_told_without_its_password(url: str) -> None:
    assert CANARY not in place(url)


@pytest.mark.parametrize(
    ("url", "unverified"),
    [
        ("postgresql://u@db.internal/kros", True),
        ("postgresql://u@db.internal/kros?sslmode=require", True),
        ("postgresql://u@db.internal/kros?sslmode=verify-full", False),
        ("postgresql:///kros?host=db.internal", True),
        ("postgresql://127.0.0.1/kros?hostaddr=10.0.0.1", True),
        ("postgresql://127.0.0.1:5432/kros", False),
        ("postgresql:///kros?host=/run/postgresql", False),
    ],
)
def test_a_database_elsewhere_counts_as_unverified_unless_its_certificate_is_checked(
    url: str, *, unverified: bool
) -> None:
    assert Address.of(url).is_unverified is unverified


async def test_without_the_extra_the_start_stops_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kros_mcp.journals.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"kros-mcp\[postgres\] is not installed") as caught:
        async with open_journal("postgresql://host/db"):
            pass
    assert caught.value.exit_code == 2


async def _spends_nothing(bench: Bench, sentence: str) -> None:
    operation = (await bench.account.journal.list_operations())[0]
    for attempt in (bench.execute(operation), bench.propose(OTHER_MOBILES[1])):
        with pytest.raises(JournalError, match=sentence) as caught:
            await attempt
        assert (caught.value.charged, caught.value.exit_code) == ("no", 3)
    assert (bench.sim.charges, bench.posts()) == ([], [])


@pytest.mark.promise(13)
async def test_nothing_is_spent_while_the_database_only_reads(database: Database) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        database.alter("SET default_transaction_read_only = on")
        await _spends_nothing(bench, "cannot be written; nothing can be spent")
        database.alter("RESET default_transaction_read_only")
        assert (await bench.execute(operation)).state is State.DONE


async def test_a_database_that_went_away_spends_nothing_and_is_used_again_when_it_is_back(database: Database) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        database.alter("ALLOW_CONNECTIONS false")
        with pytest.raises(JournalError, match="no connection in time"):
            await bench.execute(operation)
        assert (bench.sim.charges, bench.posts()) == ([], [])
        database.alter("ALLOW_CONNECTIONS true")
        with anyio.fail_after(20):
            while (await bench.stored(operation)).state is State.PROPOSED:
                try:
                    await bench.execute(operation)
                except JournalError:
                    await anyio.lowlevel.checkpoint()
    assert len(bench.sim.charges) == 1


async def test_a_database_that_is_lost_after_sending_leaves_the_outcome_unknown_and_never_unsaid(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 0.5)
    sim = simulator()
    async with open_bench(sim, journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("hold", on=["purchase"], after=True)
        failures: list[KrosError] = []

        async def buy() -> None:
            with pytest.raises(OutcomeUnknownError) as caught:
                await bench.execute(operation)
            failures.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(buy)
            await sim.faults.held()
            database.alter("ALLOW_CONNECTIONS false")
            sim.faults.let_go()
        database.alter("ALLOW_CONNECTIONS true")
    assert [(failure.charged, failure.operation_id) for failure in failures] == [("unknown", operation.id)]
    assert len(sim.charges) == 1


async def test_an_act_whose_journal_went_away_is_told_in_time_and_as_unknown(database: Database) -> None:
    sim = simulator()
    async with (
        open_bench(sim, journal_url=database.url) as bench,
        open_runtime(bench.account.settings, transport=transport(sim), journal=bench.account.journal) as runtime,
    ):
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("hold", on=["purchase"])
        runtime.runner.start(operation.id, YES)
        await sim.faults.held()
        database.alter("ALLOW_CONNECTIONS false")
        begun = anyio.current_time()
        with pytest.raises(OutcomeUnknownError) as caught:
            await runtime.runner.wait(operation.id, 0.5)
        assert anyio.current_time() - begun < 1.5
        assert (caught.value.charged, caught.value.operation_id) == ("unknown", operation.id)
        database.alter("ALLOW_CONNECTIONS true")
        sim.faults.let_go()
        with anyio.fail_after(20):
            while True:
                with suppress(JournalError):
                    if (await bench.stored(operation)).state is State.DONE:
                        break
                await anyio.lowlevel.checkpoint()
    assert len(sim.charges) == 1


async def test_a_transaction_whose_connection_is_lost_stores_nothing(database: Database) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])

        def confirm(current: Operation, now: float) -> Operation:
            database.alter("RESET ALL")
            return moves.confirm(current, now, by="nobody")

        with pytest.raises(JournalError):
            await bench.account.journal.change(operation.id, confirm)
        assert (await bench.stored(operation)).state is State.PROPOSED


async def test_a_transaction_is_not_torn_by_who_cancels_it(database: Database) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        with anyio.CancelScope() as scope:

            def confirm(current: Operation, now: float) -> Operation:
                scope.cancel()
                return moves.confirm(current, now, by="somebody")

            await bench.account.journal.change(operation.id, confirm)
        assert (await bench.stored(operation)).state is State.CONFIRMED


@pytest.fixture
def frozen() -> Iterator[list[int]]:
    """Sessions that a test stops; they go on in the end, so that the server can be stopped."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def test_a_database_that_does_not_answer_is_given_up_in_time(database: Database, frozen: list[int]) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        for pid in database.sessions():
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
        begun = anyio.current_time()
        with pytest.raises(JournalError, match="nothing can be spent"):
            await bench.execute(operation)
        assert anyio.current_time() - begun < postgres.ANSWER_SECONDS + 1
    assert bench.sim.charges == []


_FREEZING = """
import anyio, os, signal, sys
from kros_mcp.errors import JournalError
from kros_mcp.operations import moves
from kros_mcp.journals.backends import open_journal, place
def freeze(operation, now, books):
    os.kill(os.getpid(), signal.SIGSTOP)
    return moves.claim(operation, now, reserved_cents=1), ()
async def main(url, operation_id):
    async with open_journal(url) as journal:
        try:
            await journal.claim(operation_id, freeze, committed_since=0)
        except JournalError:
            sys.exit(7)
anyio.run(main, *sys.argv[1:])
"""


async def test_a_process_frozen_in_a_transaction_holds_nobody_up_for_long_and_stores_nothing(
    database: Database,
) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        first, second = [await bench.propose(e164) for e164 in OTHER_MOBILES[:2]]
        program = [sys.executable, "-c", _FREEZING, database.url, first.id]
        async with await anyio.open_process(program, cwd=Path(__file__).parent, stderr=None) as child:
            with anyio.fail_after(20):
                while _state_of(child.pid) != "T":
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(JournalError, match=LOCKED):
                    await bench.execute(second)
                while (await bench.stored(second)).state is State.PROPOSED:
                    try:
                        await bench.execute(second)
                    except JournalError:
                        await anyio.lowlevel.checkpoint()
                os.kill(child.pid, signal.SIGCONT)
                assert await child.wait() == 7
        assert (await bench.stored(first)).state is State.PROPOSED
    assert [charge.e164 for charge in bench.sim.charges] == [second.e164]


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.promise(11)
async def test_no_secret_stands_in_the_database(database: Database) -> None:
    async with open_bench(simulator(), journal_url=database.url) as bench:
        await bench.buy(allow_outbound=True, endpoint_id=next(iter(bench.sim.endpoints)))
        await bench.execute(await bench.propose_release(bench.active))
        assert CANARY not in repr(bench.account.settings)
    for table in ("operations", "meta"):
        assert CANARY not in repr(database.run(f"SELECT one::text FROM kros_mcp.{table} AS one"))
