"""The journal on one machine: SQLite, where every commit is in the file itself before anything goes on."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from kros_mcp.journals import generation, journal_errors
from kros_mcp.journals.clock import GivenTime, Machine, MachineTime
from kros_mcp.journals.rows import Rows, Work
from kros_mcp.journals.sql import StoredJournal
from kros_mcp.journals.sqlite_file import (
    BUSY_SECONDS,
    journal_path,
    open_file,
    open_file_to_read,
    translated,
)

T = TypeVar("T")


class SqliteJournal(StoredJournal):
    """One connection, one transaction at a time, in a worker thread.

    Args:
        connection: As `open_file` gives it.
        secret: The journal's own, likewise.
        path: The file; None is memory.
        keeper: Tells the time.
    """

    def __init__(
        self, connection: sqlite3.Connection, secret: bytes, path: Path | None, keeper: MachineTime | GivenTime
    ) -> None:
        super().__init__(keeper)
        self.secret = secret
        self._connection = connection
        self._path = path.absolute() if path else None
        self._file = self._identity()
        self._is_replaced = False
        self._keeps_log = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        self._now = keeper.now
        self._one_at_a_time = anyio.Lock()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def begin(self) -> None:
        """Read how far the journal has come, and write down that a new boot has begun, unless it is locked now.

        Raises:
            JournalError: The file cannot be used.
        """
        with translated():
            come_so_far = self._drive(generation.read(self._progress))
            self._watch.look(come_so_far, 0)
            self._keeper.adopt(come_so_far)
            moment = self._keeper.moment()
            if moment is not None and moment.boot != come_so_far.boot:
                self._note_boot()

    async def now(self) -> float:
        """Return the journal's time."""
        return self._now()

    def _time(self) -> Work[float]:
        yield from ()
        return self._now()

    def _alone(self, account: str) -> Work[None]:
        """A transaction that writes is alone in its file."""
        del account
        yield from ()

    def _claims_alone(self) -> Work[None]:
        yield from ()

    def _text_in(self, column: str, name: str) -> str:
        return f"json_extract({column}, '$.{name}')"

    def _cents_in(self, column: str, name: str) -> str:
        return f"CAST({self._text_in(column, name)} AS INTEGER)"

    def _day_of(self, column: str) -> str:
        return f"CAST({column} / 86400 AS INTEGER)"

    def _by(self, index: str) -> str:
        return f" INDEXED BY {index}"

    async def _look(self, work: Callable[[], Work[T]]) -> T:
        return await self._run(lambda: self._drive(work()))

    async def _transact(self, work: Callable[[], Work[T]]) -> T:
        return await self._run(lambda: self._in_transaction(work))

    async def _transact_if_free(self, work: Callable[[], Work[T]]) -> T:
        def at_once() -> T:
            with self._not_waiting():
                return self._in_transaction(work)

        return await self._run(at_once)

    def _in_transaction(self, work: Callable[[], Work[T]]) -> T:
        self._require_file()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result, moves, happened = self._drive(self._guarded(work()))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if self._keeps_log:  # a process of an earlier version has it open
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._require_file()  # what was committed to a file that is gone is not written down
        self._committed(moves, happened)
        return result

    def _note_boot(self) -> None:
        """Let every process of this boot count from one time; one that is locked out now does so at its first move."""
        try:
            with self._not_waiting():
                self._connection.execute("BEGIN IMMEDIATE")
                come_so_far = self._drive(generation.read(self._progress))
                self._keeper.adopt(come_so_far)
                self._drive(generation.advance(self._progress, self._keeper.moment()))
                self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def _not_waiting(self) -> Iterator[None]:
        """Let the block fail at once where another process is writing."""
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

    def _require_file(self) -> None:
        """Raise unless the path still leads to the file that was opened; once it does not, for good.

        Raises:
            JournalError: The file was deleted, moved or replaced.
        """
        if self._is_replaced or self._identity() != self._file:
            self._is_replaced = True
            raise journal_errors.replaced()

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino

    def _drive(self, work: Work[T]) -> T:
        rows: Rows | None = None
        while True:
            try:
                sql, values = work.send(rows)  # type: ignore[arg-type]  # a generator is begun with None
            except StopIteration as end:
                result: T = end.value
                return result
            rows = self._connection.execute(sql, values).fetchall()

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with translated():
                return work()

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(guarded)


@asynccontextmanager
async def open_sqlite(
    url: str | None, *, clock: Callable[[], float] | None = None, machine: Machine | None = None
) -> AsyncIterator[SqliteJournal]:
    """Open or create a journal in SQLite, readable by its owner alone.

    Args:
        url: `sqlite:////absolute/path`, `sqlite:///relative/path`, `sqlite://:memory:`, or None for the
            user's own state directory.
        clock: Answers Unix seconds, and is the journal's time, whatever stands in the journal; for tests.
        machine: The clocks from which the journal's time is made else. Defaults to this machine's.

    Raises:
        JournalError: The file cannot be used.
    """
    path = journal_path(url)
    async with _opened(lambda: open_file(path), path, clock, machine) as journal:
        yield journal


@asynccontextmanager
async def open_sqlite_to_read(path: Path) -> AsyncIterator[SqliteJournal]:
    """Open a journal's file without the right to write; of an earlier version's a copy in memory, as it stands now.

    Raises:
        JournalError: The file cannot be read, or is no whole journal that this version knows.
    """
    async with _opened(lambda: open_file_to_read(path), path) as journal:
        journal.only_reads = True
        yield journal


@asynccontextmanager
async def _opened(
    connect: Callable[[], tuple[sqlite3.Connection, bytes]],
    path: Path | None,
    clock: Callable[[], float] | None = None,
    machine: Machine | None = None,
) -> AsyncIterator[SqliteJournal]:
    """Open a journal, and close it in the end, also where it turns out not to be usable."""

    def begun() -> SqliteJournal:
        connection, secret = connect()
        try:
            keeper = GivenTime(clock) if clock else MachineTime(machine or Machine())
            journal = SqliteJournal(connection, secret, path, keeper)
            journal.begin()
        except BaseException:
            connection.close()
            raise
        return journal

    journal = await anyio.to_thread.run_sync(begun)
    try:
        yield journal
    finally:
        journal.close()
