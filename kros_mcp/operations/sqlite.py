"""The journal on one machine: SQLite in WAL mode, every commit synchronous."""

import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from kros_mcp.errors import OperationError
from kros_mcp.operations import model, moves
from kros_mcp.operations.journal import EVERYTHING, Claim, Filter, Identity, Move, busy, missing
from kros_mcp.operations.listing import condition
from kros_mcp.operations.model import OPEN, WAITING, Operation, State
from kros_mcp.operations.policy import DAY_SECONDS, Books
from kros_mcp.operations.sqlite_file import journal_path, open_file, translated

T = TypeVar("T")

ASKING_WINDOW_SECONDS = 600.0
MAX_PROMPTS_TURNED_DOWN = 3
SUPERSEDED = "SUPERSEDED"
_COLUMNS = tuple(field.name for field in fields(Operation))
_JSON = frozenset({"request", "quote", "number", "not_applied", "settings_superseded"})


class SqliteJournal:
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

    async def propose(self, draft: Operation) -> Operation:
        """Store a draft, or answer the open operation that is the same."""
        return await self._transact(lambda: self._propose(draft))

    async def change(self, operation_id: str, move: Move) -> Operation:
        """Run one move in a transaction."""
        return await self._transact(lambda: self._change(operation_id, move))

    async def claim(self, operation_id: str, move: Claim, *, committed_since: float) -> Operation:
        """Run a move that also needs the books, in one transaction with the sums it sees."""

        def with_books(operation: Operation, now: float) -> Operation:
            if self._in_flight(operation):
                error = busy(operation.e164)
                return moves.end(
                    operation,
                    now,
                    State.FAILED,
                    reason=error.message,
                    code=error.code,
                    next_step=error.next_step,
                )
            return move(operation, now, self._books(operation.account, now, committed_since))

        return await self._transact(lambda: self._change(operation_id, with_books))

    async def get(self, operation_id: str) -> Operation | None:
        """Read one operation, expired if its time has come."""
        operation = await self._run(lambda: self._load(operation_id))
        return None if operation is None else await self._expired(operation)

    async def find(
        self, identity: Identity, *, e164: str = "", inventory_id: str = "", number_id: str = ""
    ) -> Operation | None:
        """Find the newest operation of that identity for a number, by any of its names."""
        names = {
            "e164": e164,
            "json_extract(request, '$.inventory_id')": inventory_id,
            "json_extract(request, '$.number_id')": number_id,
        }
        mine = "principal = ? AND action = ? ORDER BY created_at DESC, rowid DESC LIMIT 1"
        for column, value in names.items():
            if value:
                where, values = f"account = ? AND {column} = ? AND {mine}", (identity.account, value)
                found = await self._read(where, *values, identity.principal, identity.action)
                if found:
                    return await self._expired(found[0])
        return None

    async def due(self, account: str) -> tuple[Operation, ...]:
        """List what needs attention: confirmed, sending, unknown, settings pending."""
        where = "account = ? AND (state IN ('confirmed', 'sending', 'unknown') OR settings_pending = 1)"
        return await self._read(where + " ORDER BY created_at", account)

    async def books(self, account: str, *, committed_since: float) -> Books:
        """Sum what is spent and committed."""
        return await self._run(lambda: self._books(account, self._clock(), committed_since))

    async def settings_changed(self, account: str, e164: str, names: tuple[str, ...]) -> None:
        """Drop settings that a purchase still wanted to set: somebody has chosen them anew."""
        where = (
            "account = ? AND e164 = ? AND action = 'buy' AND (settings_pending = 1 OR state IN ('sending', 'unknown'))"
        )

        def supersede() -> None:
            for operation in self._select(where, account, e164):
                chosen = tuple(sorted({*operation.settings_superseded, *names}))
                self._store(replace(operation, settings_superseded=chosen))

        await self._transact(supersede)

    async def list_operations(
        self, wanted: Filter = EVERYTHING, *, limit: int = 50, after: str = "", oldest_first: bool = False
    ) -> tuple[Operation, ...]:
        """List operations as they stand now, newest first unless told otherwise."""
        now = self._clock()
        where, values = condition(wanted, now)
        beyond, order = (">", "ASC") if oldest_first else ("<", "DESC")
        if after:
            where += f" AND (created_at, rowid) {beyond} (SELECT created_at, rowid FROM operations WHERE id = ?)"  # noqa: S608 - one of two signs
            values.append(after)
        rows = await self._read(f"{where} ORDER BY created_at {order}, rowid {order} LIMIT ?", *values, limit)
        return tuple(moves.expire(row, now) for row in rows)

    async def count(self, wanted: Filter = EVERYTHING) -> int:
        """Count operations, by the same filter."""
        where, values = condition(wanted, self._clock())
        sql = f"SELECT count(*) FROM operations WHERE {where}"  # noqa: S608 - constants of this program
        return int(await self._run(lambda: self._value(sql, *values)))

    async def check_writable(self) -> None:
        """Raise `JournalError` unless a row could be written now."""
        sql = "INSERT INTO meta VALUES ('writable', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self._transact(lambda: self._connection.execute(sql, (secrets.token_bytes(8),)))

    def _propose(self, draft: Operation) -> Operation:
        now = self._clock()
        mine = "account = ? AND e164 = ? AND principal = ? AND action = ?"
        identity = (draft.account, draft.e164, draft.principal, draft.action)
        for standing in self._select(f"{mine} AND state IN ({_quoted(OPEN)})", *identity):
            current = moves.expire(standing, now)
            if current.state in OPEN and (
                current.request.settings == draft.request.settings or current.state is not State.PROPOSED
            ):
                return current
            if current.state is State.PROPOSED:
                reason = "Replaced by one with other settings."
                current = moves.end(current, now, State.CANCELLED, reason=reason, code=SUPERSEDED)
            self._store(current)
        if self._in_flight(draft):
            raise busy(draft.e164)
        turned_down = (
            f"{mine} AND channel = 'prompt' AND state IN ('declined', 'cancelled') AND error_code <> ? "
            "AND created_at > ?"
        )
        since = now - ASKING_WINDOW_SECONDS
        if len(self._select(turned_down, *identity, SUPERSEDED, since)) >= MAX_PROMPTS_TURNED_DOWN:
            raise OperationError(
                f"The person has turned {draft.e164} down three times within ten minutes; nothing was done.",
                code="ASKED_TOO_OFTEN",
                next_step="Do not ask again now; go on with something else.",
            )
        marks = ", ".join("?" * len(_COLUMNS))
        sql = f"INSERT INTO operations ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - constants of this file
        self._connection.execute(sql, _encode(draft))
        return draft

    def _change(self, operation_id: str, move: Move) -> Operation:
        operation = self._load(operation_id)
        if operation is None:
            raise missing(operation_id)
        now = self._clock()
        current = moves.expire(operation, now)
        moved = current if current.state is State.EXPIRED else move(current, now)
        if moved != operation:
            self._store(moved)
        return moved

    async def _expired(self, operation: Operation) -> Operation:
        if operation.state in WAITING and self._clock() >= operation.expires_at:
            return await self.change(operation.id, moves.expire)
        return operation

    def _in_flight(self, operation: Operation) -> bool:
        where = "account = ? AND e164 = ? AND id <> ? AND state IN ('sending', 'unknown') LIMIT 1"
        return bool(self._select(where, operation.account, operation.e164, operation.id))

    def _books(self, account: str, now: float, committed_since: float) -> Books:
        spent = self._value(
            "SELECT coalesce(sum(reserved_cents), 0) FROM operations WHERE account = ? AND claimed_at > ? "
            "AND action = 'buy' AND state IN ('sending', 'unknown', 'done')",
            account,
            now - DAY_SECONDS,
        )
        under_way = "account = ? AND state IN ('sending', 'unknown') AND action = 'buy'"
        newer = (
            "account = ? AND settled_at >= ? AND action = 'buy' AND state = 'done' AND NOT EXISTS (SELECT 1 FROM "
            "operations AS later WHERE later.account = operations.account AND later.e164 = operations.e164 "
            "AND later.action = 'release' AND later.state = 'done' AND later.settled_at >= operations.settled_at)"
        )
        bought = self._select(newer, account, committed_since)
        committed = {row.e164: row.quote.monthly_cents for row in (*self._select(under_way, account), *bought)}
        return Books(spent_cents=spent, bought=frozenset(row.e164 for row in bought), committed=committed)

    def _load(self, operation_id: str) -> Operation | None:
        found = self._select("id = ?", operation_id)
        return found[0] if found else None

    def _select(self, where: str, *values: object) -> tuple[Operation, ...]:
        sql = f"SELECT {', '.join(_COLUMNS)} FROM operations WHERE {where}"  # noqa: S608 - constants of this file
        return tuple(_decode(row) for row in self._connection.execute(sql, values))

    def _store(self, operation: Operation) -> None:
        assignments = ", ".join(f"{name} = ?" for name in _COLUMNS)
        self._connection.execute(
            f"UPDATE operations SET {assignments} WHERE id = ?",  # noqa: S608 - constants of this file
            (*_encode(operation), operation.id),
        )

    def _value(self, sql: str, *values: object) -> Any:  # noqa: ANN401 - whatever the column holds
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    async def _read(self, where: str, *values: object) -> tuple[Operation, ...]:
        return await self._run(lambda: self._select(where, *values))

    async def _transact(self, work: Callable[[], T]) -> T:
        return await self._run(lambda: self._in_transaction(work))

    def _in_transaction(self, work: Callable[[], T]) -> T:
        with translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result

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


def _encode(operation: Operation) -> tuple[object, ...]:
    row = model.as_row(operation)
    return tuple(
        json.dumps(row[name]) if name in _JSON and row[name] is not None else _plain(row[name]) for name in _COLUMNS
    )


def _plain(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _decode(values: tuple[Any, ...]) -> Operation:
    row = dict(zip(_COLUMNS, values, strict=True))
    return model.from_row(
        {name: json.loads(value) if name in _JSON and value else value for name, value in row.items()}
    )


def _quoted(states: frozenset[State]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))
