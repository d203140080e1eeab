"""The journal on one machine: SQLite in WAL mode, every commit synchronous."""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from kros_mcp.operations.journals.rows import Rows, Work
from kros_mcp.operations.journals.sqlite_file import journal_path, open_file, translated
from kros_mcp.operations.journals.stored import StoredJournal

T = TypeVar("T")


class SqliteJournal(StoredJournal):
    """One connection, one transaction at a time, in a worker thread.

    Args:
        connection: As `open_file` gives it.
        secret: The journal's own, likewise.
        clock: Answers Unix seconds.
    """

    def __init__(
        self, connection: sqlite3.Connection, secret: bytes, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.secret = secret
        self._connection = connection
        self._clock = clock
        self._one_at_a_time = anyio.Lock()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    async def now(self) -> float:
        """Give the machine's time."""
        return self._clock()

    def _time(self) -> Work[float]:
        yield from ()
        return self._clock()

    def _alone(self, account: str) -> Work[None]:
        """A transaction that writes is alone in its file."""
        del account
        yield from ()

    def _text_in(self, column: str, name: str) -> str:
        return f"json_extract({column}, '$.{name}')"

    def _by(self, index: str) -> str:
        return f" INDEXED BY {index}"

    async def _look(self, work: Callable[[], Work[T]]) -> T:
        return await self._run(lambda: self._drive(work()))

    async def _transact(self, work: Callable[[], Work[T]]) -> T:
        return await self._run(lambda: self._in_transaction(lambda: self._drive(work())))

    def _in_transaction(self, work: Callable[[], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result

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
async def open_sqlite(url: str | None, *, clock: Callable[[], float] = time.time) -> AsyncIterator[SqliteJournal]:
    """Open or create a journal in SQLite, readable by its owner alone.

    Args:
        url: `sqlite:////absolute/path`, `sqlite:///relative/path`, `sqlite://:memory:`, or None for the
            user's own state directory.
        clock: Answers Unix seconds.

    Raises:
        JournalError: The file cannot be used.
    """
    connection, secret = await anyio.to_thread.run_sync(open_file, journal_path(url))
    journal = SqliteJournal(connection, secret, clock=clock)
    try:
        yield journal
    finally:
        journal.close()
