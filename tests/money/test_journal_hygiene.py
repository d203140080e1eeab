"""A disk that fills up or fails under the journal, at every moment of an act; and who may read its files.

The disk is full for SQLite itself, which may not make the file longer while every row that is written needs a
page more; it fails by the kernel's own word, as no file of this process may grow.
"""

import os
import resource
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from bench import OTHER_MOBILES, Bench, open_bench, simulator

from kros_mcp.errors import JournalError, KrosError, OutcomeUnknownError
from kros_mcp.operations import execution, recovery
from kros_mcp.operations.model import LEASE_SECONDS, Operation, State

pytestmark = [pytest.mark.anyio, pytest.mark.promise(13)]


class FullDisk:
    """No page more for the journal's file."""

    says = "disk is full; nothing can be spent until there is room"

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        del path
        self._connection = connection
        connection.execute("CREATE TABLE ballast (bytes BLOB)")
        needs_room = "ON main.operations BEGIN INSERT INTO ballast VALUES (zeroblob(8192)); END"
        connection.execute(f"CREATE TEMP TRIGGER inserting AFTER INSERT {needs_room}")
        connection.execute(f"CREATE TEMP TRIGGER updating AFTER UPDATE {needs_room}")

    def fill(self) -> None:
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def free(self) -> None:
        self._connection.execute("PRAGMA max_page_count = 1000000")


_SECTOR = 512
"""Less than SQLite writes down before it changes a file."""


class FailingDisk:
    """Every write that would make a file longer is refused by the kernel."""

    says = "has no room for more; nothing can be spent"

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        del connection, path
        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (_SECTOR, self._hard))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._soft, self._hard))


Disk = FullDisk | FailingDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
async def bench(path: Path) -> AsyncIterator[Bench]:
    async with open_bench(simulator(), journal_url=f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture(params=[FullDisk, FailingDisk])
def disk(request: pytest.FixtureRequest, bench: Bench, path: Path) -> Iterator[Disk]:
    made: Disk = request.param(bench.account.journal._connection, path)  # type: ignore[attr-defined]  # noqa: SLF001 - the disk is behind it
    yield made
    made.free()


async def told_when_filled(bench: Bench, disk: Disk, operation: Operation, *, during: str) -> KrosError:
    """Fill the disk while a request of the act is on its way, and give what the act then says."""
    bench.sim.faults.switch_on("hold", on=[during])
    told: list[KrosError] = []

    async def buy() -> None:
        with pytest.raises(KrosError) as caught:
            await bench.execute(operation)
        told.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buy)
        await bench.sim.faults.held()
        disk.fill()
        bench.sim.faults.let_go()
    return told[0]


async def recovered(bench: Bench, disk: Disk, operation: Operation) -> Operation:
    """Give the disk room, and recover as a server does that starts after the lease has run out."""
    disk.free()
    bench.clock.now += LEASE_SECONDS
    await recovery.recover(bench.account)
    return await bench.stored(operation)


async def test_a_disk_without_room_for_a_proposal_or_a_claim_spends_nothing(bench: Bench, disk: Disk) -> None:
    operation = await bench.propose(OTHER_MOBILES[0])
    disk.fill()
    for attempt in (bench.execute(operation), bench.buy(OTHER_MOBILES[1])):
        with pytest.raises(JournalError, match=disk.says) as caught:
            await attempt
        assert (caught.value.charged, caught.value.changed) == ("no", "no")
    assert (bench.sim.charges, bench.posts()) == ([], [])
    disk.free()
    assert (await bench.stored(operation)) == operation
    assert (await bench.execute(operation)).state is State.DONE


async def test_a_disk_that_fills_up_between_claim_and_sending_spends_nothing(bench: Bench, disk: Disk) -> None:
    operation = await bench.propose(OTHER_MOBILES[0])
    told = await told_when_filled(bench, disk, operation, during="search")
    assert isinstance(told, JournalError)
    assert disk.says in told.message
    assert (told.charged, bench.sim.charges, bench.posts()) == ("no", [], [])
    failed = await recovered(bench, disk, operation)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "INTERRUPTED", "no")
    assert (await bench.buy(OTHER_MOBILES[0])).state is State.DONE


async def test_a_disk_that_fills_up_after_sending_leaves_the_outcome_unknown(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SETTLE_PAUSES_SECONDS", (0.0, 0.0))
    operation = await bench.propose(OTHER_MOBILES[0])
    told = await told_when_filled(bench, disk, operation, during="purchase")
    assert isinstance(told, OutcomeUnknownError)
    assert (told.charged, told.changed, told.operation_id) == ("unknown", "unknown", operation.id)
    assert (await bench.stored(operation)).charged == "unknown"
    unknown = await recovered(bench, disk, operation)
    assert (unknown.state, unknown.charged) == (State.UNKNOWN, "unknown")
    assert (await recovery.reconcile(bench.account, unknown)).state is State.DONE
    assert len(bench.sim.charges) == len(bench.posts()) == 1


@contextmanager
def masking(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_the_files_of_a_journal_are_its_owners_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with masking(mask):
        async with open_bench(simulator(), journal_url=f"sqlite:///{tmp_path}/state/journal.sqlite3") as bench:
            await bench.buy()
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()}
    assert files == dict.fromkeys(("journal.sqlite3", "journal.sqlite3-journal"), 0o600)
