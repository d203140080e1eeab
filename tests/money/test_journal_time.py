"""The journal's time, where clocks are set, step and begin anew: nothing is settled by it, and no budget freed."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from kros_mcp.journals import clock
from kros_mcp.journals.clock import Machine, Progress, SharedTime, boot_id
from kros_mcp.journals.postgres import open_postgres
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Operation, Quote, Request, State, new_operation_id
from kros_mcp.operations.policy import DAY_SECONDS, Books
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
ACCOUNT = "a" * 32


@dataclass
class Clocks:
    """Clocks that stand still until they are turned: the one that is set, and seconds since the start."""

    wall: float = NOW
    boot: float = 5_000.0
    boot_id: str = "first boot"

    def machine(self) -> Machine:
        return Machine(lambda: self.wall, lambda: self.boot, lambda: self.boot_id)

    def goes_on(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds

    def starts_again(self, *, wall: float) -> None:
        self.wall, self.boot, self.boot_id = wall, 1.0, self.boot_id + " and another"


@dataclass
class Shown:
    """What the database's own clock shows, in a function that stands in front of PostgreSQL's."""

    url: str

    def turn(self, to: float) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "CREATE OR REPLACE FUNCTION turned.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
                f"AS 'SELECT to_timestamp({to}::float8)'".encode()
            )


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def shown(postgres_server: PostgresServer) -> Iterator[Shown]:
    with postgres_server.new_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA turned")
        shown = Shown(url)
        shown.turn(NOW)
        yield shown


class World:
    """One journal of either backend, the clock that gives it its time, and machines that use it."""

    def __init__(self, clocks: Clocks, shown: Shown | None, folder: Path) -> None:
        self.clocks, self._shown, self._folder = clocks, shown, folder

    def goes_on(self, seconds: float) -> None:
        """Let time pass."""
        self.clocks.goes_on(seconds)
        self._show()

    def steps(self, seconds: float) -> None:
        """Set the clock from which the journal's time is made."""
        self.clocks.wall += seconds
        self._show()

    def starts_again(self, *, wall: float) -> None:
        """Start the machine anew, with its clock as it may then be."""
        self.clocks.starts_again(wall=wall)
        self._show()

    def _show(self) -> None:
        if self._shown is not None:
            self._shown.turn(self.clocks.wall)

    @asynccontextmanager
    async def open(self, clocks: Clocks | None = None) -> AsyncIterator[Journal]:
        """Open it as a process of a machine does; of this one unless told otherwise."""
        machine = (clocks or self.clocks).machine()
        if self._shown is None:
            async with open_sqlite(f"sqlite:///{self._folder}/journal.sqlite3", machine=machine) as journal:
                yield journal
        else:
            url = f"{self._shown.url}&options={quote('-c search_path=turned,pg_catalog')}"
            async with open_postgres(url, machine=machine) as journal:
                await journal.now()  # as a server's attendant does at once
                yield journal


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, clocks: Clocks, tmp_path: Path) -> World:
    shown = request.getfixturevalue("shown") if request.param == "postgres" else None
    return World(clocks, shown, tmp_path)


def close(seconds: float) -> Any:
    return pytest.approx(seconds, abs=0.3)


async def sent(journal: Journal, e164: str = "+2348035550101") -> Operation:
    """Claim a purchase of 5.00, and write down that it was sent."""
    now = await journal.now()
    request, price = Request(inventory_id=e164, country="NG"), Quote(e164, "NG", "test", 0, 500, 500)
    draft = Operation(new_operation_id(), ACCOUNT, "local", Action.BUY, e164, request, price, now, now + 600)
    operation = await journal.propose(draft)

    def claim(current: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        del books
        return moves.claim(current, now, reserved_cents=500), ()

    claimed, _ = await journal.claim(operation.id, claim, committed_since=0.0)
    return await journal.change(claimed.id, lambda one, now: moves.mark_sent(one, now, token=claimed.token))


async def spent(journal: Journal) -> int:
    return (await journal.books(ACCOUNT, "local", committed_since=0.0)).spent_cents


async def test_a_clock_that_steps_three_minutes_forward_lets_nothing_wait_less(world: World) -> None:
    async with world.open() as journal:
        operation = await sent(journal)
        world.goes_on(13)
        world.steps(180)
        assert await journal.waited(operation) == close(13)
        assert await journal.now() == close(NOW + 13)
        world.goes_on(120)
        assert await journal.waited(operation) == close(133)


async def test_a_clock_that_steps_a_day_forward_and_back_frees_no_budget(world: World) -> None:
    async with world.open() as journal:
        await sent(journal)
        world.steps(DAY_SECONDS)
        assert await spent(journal) == 500
        world.goes_on(5)
        await sent(journal, "+2348035550102")
        world.steps(-DAY_SECONDS)
        assert await spent(journal) == 1000
        world.goes_on(DAY_SECONDS - 60)
        assert await spent(journal) == 1000
        world.goes_on(61)
        assert await spent(journal) == 0


async def test_a_clock_that_steps_a_day_back_keeps_nothing_waiting_for_it(world: World) -> None:
    async with world.open() as journal:
        operation = await sent(journal)
        world.goes_on(13)
        world.steps(-DAY_SECONDS)
        world.goes_on(120)
        assert await journal.waited(operation) == close(133)
        settled = await journal.change(operation.id, moves.recover)
        assert settled.state is State.UNKNOWN


async def test_a_process_that_begins_after_a_step_counts_on_as_those_before_it(world: World) -> None:
    async with world.open() as earlier:
        operation = await sent(earlier)
        world.steps(DAY_SECONDS)
        world.goes_on(13)
        await earlier.now()
        async with world.open() as later:
            assert await later.now() == close(NOW + 13)
            assert await spent(later) == 500
            assert await later.waited(operation) <= 13.3
    world.steps(-2 * DAY_SECONDS)
    async with world.open() as last:
        assert await last.now() == close(NOW + 13)


async def test_a_clock_that_steps_while_nobody_uses_the_journal_lets_nothing_wait_less(world: World) -> None:
    async with world.open() as journal:
        await sent(journal)
    world.goes_on(13)
    world.steps(180)
    async with world.open() as journal:
        assert await journal.now() == close(NOW + 13)


async def test_what_an_earlier_boot_sent_settles_counting_from_this_processs_first_look(world: World) -> None:
    async with world.open() as journal:
        operation = await sent(journal)
    world.starts_again(wall=NOW + DAY_SECONDS)
    async with world.open() as journal:
        world.goes_on(30)
        assert await journal.waited(operation) == close(30)
        again = await sent(journal, "+2348035550102")
        world.goes_on(100)
        assert (await journal.waited(operation), await journal.waited(again)) == (close(130), close(100))


async def test_a_new_boot_takes_the_wall_clock_and_never_one_before_the_last_time_written(world: World) -> None:
    async with world.open() as journal:
        await sent(journal)
        world.goes_on(60)
        await journal.check_writable()
    world.starts_again(wall=NOW + 3600)
    async with world.open() as journal:
        assert await journal.now() == close(NOW + 3600)
        await journal.check_writable()
    world.starts_again(wall=NOW - 7 * DAY_SECONDS)
    async with world.open() as journal:
        assert await journal.now() == close(NOW + 3600)
        world.goes_on(10)
        assert await journal.now() == close(NOW + 3610)
        assert await spent(journal) == 500


async def test_processes_of_one_boot_count_along_one_line_however_late_they_begin(
    clocks: Clocks, tmp_path: Path
) -> None:
    world = World(clocks, None, tmp_path)
    async with world.open() as first:
        world.goes_on(100)
        async with world.open() as second:
            assert await first.now() == await second.now() == NOW + 100
            world.steps(-50)
            world.goes_on(1)
            await second.check_writable()
            assert await first.now() == await second.now() == NOW + 101


async def test_a_boot_that_could_not_be_written_down_at_once_is_written_with_the_first_move(
    clocks: Clocks, tmp_path: Path
) -> None:
    import sqlite3  # noqa: PLC0415 - for its lock

    world = World(clocks, None, tmp_path)
    async with world.open() as journal:
        await sent(journal)
    world.starts_again(wall=NOW + 600)
    other = sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with world.open() as journal:
        world.goes_on(5)
        assert await journal.now() == NOW + 605
        other.execute("ROLLBACK")
        other.close()
        await journal.check_writable()
        world.steps(DAY_SECONDS)
        async with world.open() as second:
            assert await second.now() == NOW + 605


async def test_of_several_machines_one_that_sees_the_step_speaks_for_all(
    shown: Shown, clocks: Clocks, tmp_path: Path
) -> None:
    world = World(clocks, shown, tmp_path)
    other = Clocks(boot=77.0, boot_id="another machine")
    async with world.open() as watching:
        operation = await sent(watching)
        world.goes_on(13)
        other.goes_on(13)
        world.steps(DAY_SECONDS)
        assert await watching.now() == close(NOW + 13)
        async with world.open(other) as later:
            assert await later.now() == close(NOW + 13)
            assert await spent(later) == 500
            assert await later.waited(operation) == close(0)
            world.goes_on(60)
            other.goes_on(60)
            assert await later.now() == close(NOW + 73)
            assert await watching.now() == close(NOW + 73)


AT_REST = Progress(1, NOW, "", 0.0, 0.0, 0.0, "generation", None)


def test_a_process_that_freezes_while_it_asks_for_the_time_takes_it_for_no_step(clocks: Clocks) -> None:
    keeper = SharedTime(clocks.machine())
    assert keeper.look(NOW, AT_REST, keeper.asked()) == NOW
    asked = keeper.asked()
    clocks.goes_on(60)
    assert keeper.look(NOW + 0.1, AT_REST, asked) == NOW + 0.1
    asked = keeper.asked()
    assert keeper.look(NOW + 60, AT_REST, asked) == NOW + 60
    assert keeper.correction is None


def test_of_two_looks_at_once_the_one_that_is_answered_late_takes_its_earlier_time_for_no_step(clocks: Clocks) -> None:
    keeper = SharedTime(clocks.machine())
    assert keeper.look(NOW, AT_REST, keeper.asked()) == NOW
    late = keeper.asked()
    clocks.goes_on(2)
    assert keeper.look(NOW + 2, AT_REST, keeper.asked()) == NOW + 2
    assert keeper.look(NOW, AT_REST, late) == NOW + 2
    assert keeper.correction is None
    clocks.goes_on(1)
    assert keeper.look(NOW + 3, AT_REST, keeper.asked()) == NOW + 3


def test_a_clock_that_runs_a_little_too_fast_or_slow_is_followed(clocks: Clocks) -> None:
    keeper = SharedTime(clocks.machine())
    shown = NOW
    for pace in (1.0003, 0.9997):
        for _ in range(5_000):
            clocks.goes_on(10)
            shown += 10 * pace
            assert keeper.look(shown, AT_REST, keeper.asked()) == shown
    assert keeper.correction is None


def test_this_boot_of_this_machine_has_one_name() -> None:
    boot_id.cache_clear()
    first = boot_id()
    boot_id.cache_clear()
    assert first
    assert boot_id() == first


def test_where_the_system_gives_a_boot_no_name_the_minute_of_its_start_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "nowhere")
    boot_id.cache_clear()
    assert boot_id().startswith("about ")
    boot_id.cache_clear()
