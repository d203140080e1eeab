"""The journal that several machines share: PostgreSQL, with its own time and its own locks.

A transaction that a frozen process has left open is ended by the server, so that it holds up nobody else.
Works through a pooler that hands out connections by the transaction: nothing is kept on a session.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from kros_mcp.errors import JournalError
from kros_mcp.journals import generation
from kros_mcp.journals.clock import GivenTime, Machine, SharedTime
from kros_mcp.journals.kept_numbers import KeptTables
from kros_mcp.journals.outbox import OutboxTables
from kros_mcp.journals.postgres_schema import CLAIMS_LOCK, LOCK, SCHEMA, prepare, read_secret
from kros_mcp.journals.rows import Rows, Work
from kros_mcp.journals.sql import StoredJournal

T = TypeVar("T")

ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 5
MIGRATE_SECONDS = 120.0
_CONNECTIONS = 4
_LIMITS = (
    "SELECT set_config('lock_timeout', '2000', true), set_config('statement_timeout', '2500', true), "
    "set_config('idle_in_transaction_session_timeout', '5000', true)"
)
_LONG_LIMITS = _LIMITS.replace("2500", str(int(MIGRATE_SECONDS * 1000)))
_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "connect_timeout": CONNECT_SECONDS,
    "client_encoding": "UTF8",  # a database in SQL_ASCII, as in the C locale, would answer in bytes
}
_REASONS: tuple[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], str], ...] = (
    (PoolTimeout, "The journal's database gave no connection in time; nothing can be spent."),
    (errors.DiskFull, "The journal's disk is full; nothing can be spent until there is room."),
    (errors.ReadOnlySqlTransaction, "The journal cannot be written; nothing can be spent."),
    (
        (errors.LockNotAvailable, errors.QueryCanceled),
        "The journal is locked by another process; nothing can be spent until it lets go.",
    ),
    (
        errors.InsufficientPrivilege,
        (
            "The journal's database user may not do this (a first start needs CREATE on the database; that of a new "
            "version, its tables' owner); nothing can be spent."
        ),
    ),
    (psycopg.ProgrammingError, "The journal's address or its tables cannot be used; nothing can be spent."),
    (
        (psycopg.OperationalError, psycopg.InterfaceError),
        "The journal's database cannot be reached or refuses this user; nothing can be spent.",
    ),
)

_REFUSALS = {
    "authentication failed": "refuses this user or its password",
    "is not permitted to log in": "refuses this user",
    "role ": "does not know this user",
    "database ": "does not exist on its server, or accepts no connections",
    "could not translate host name": "is on a host whose name is not known here",
    "failed to resolve host": "is on a host whose name is not known here",
    "Connection refused": "is not running there: nothing listens at its address",
    "No such file": "is not running there: nothing listens at its socket",
    "SSL": "does not speak TLS in the way that sslmode asks for",
    "certificate": "shows a certificate that sslmode does not accept",
    "timeout": "did not answer in time",
}
"""What libpq says of a connection that it could not make, and what we tell of it; the first that fits."""


class PostgresJournal(StoredJournal):
    """A pool of connections; each transaction has one to itself.

    Args:
        pool: Open, and to a database that `prepare` has seen.
        secret: The journal's own, as `prepare` gives it.
        keeper: Makes the journal's time of the database's, or gives another.
    """

    _table = f"{SCHEMA}.operations"
    _events = f"{SCHEMA}.operation_events"
    _meta = f"{SCHEMA}.meta"
    _progress = f"{SCHEMA}.progress"
    _requests = f"{SCHEMA}.request_counts"
    _kept = KeptTables(f"{SCHEMA}.owned_numbers", f"{SCHEMA}.owned_lists", f"{SCHEMA}.operations")
    _organizations = f"{SCHEMA}.organizations"
    _outbox = OutboxTables(f"{SCHEMA}.outbox", f"{SCHEMA}.listeners", lock=" FOR UPDATE SKIP LOCKED")
    _for_update = " FOR UPDATE"

    def __init__(self, pool: AsyncConnectionPool[Any], secret: bytes, keeper: SharedTime | GivenTime) -> None:
        super().__init__(keeper)
        self.secret = secret
        self._pool = pool
        self._time_of = keeper

    async def now(self) -> float:
        """Return the journal's time; a step of the database's clock that is noticed is written down for everybody."""
        now = await super().now()
        if isinstance(self._time_of, SharedTime) and self._time_of.correction is not None:
            with suppress(JournalError):  # it may be locked, or not ours to write
                await self._transact(self._corrected)
        return now

    def _time(self) -> Work[float]:
        if isinstance(self._time_of, GivenTime):
            return self._time_of.now()
        asked, seen = self._time_of.asked(), self._watch.moves
        shown = f"extract(epoch FROM clock_timestamp())::float8, {generation.COLUMNS}"
        rows = yield f"SELECT {shown} FROM {self._progress}", ()  # noqa: S608 - constants
        come_so_far = generation.decode([row[1:] for row in rows])
        self._watch.look(come_so_far, seen)
        return self._time_of.look(rows[0][0], come_so_far, asked)

    def _corrected(self) -> Work[None]:
        """Write down what the database's clock is ahead, unless another process has done so since."""
        correction = self._time_of.correction if isinstance(self._time_of, SharedTime) else None
        if correction is not None:
            before, now = correction
            yield f"UPDATE {self._progress} SET ahead = ? WHERE ahead = ?", (now, before)  # noqa: S608 - constants

    def _alone(self, account: str) -> Work[None]:
        yield f"SELECT pg_advisory_xact_lock({LOCK}, hashtext(?))", (account,)

    def _claims_alone(self) -> Work[None]:
        yield f"SELECT pg_advisory_xact_lock({CLAIMS_LOCK}, 0)", ()

    def _text_in(self, column: str, name: str) -> str:
        return f"({column} ->> '{name}')"

    def _cents_in(self, column: str, name: str) -> str:
        return f"trunc(CAST({self._text_in(column, name)} AS NUMERIC))"

    def _day_of(self, column: str) -> str:
        return f"CAST(floor({column} / 86400) AS BIGINT)"

    async def _look(self, work: Callable[[], Work[T]]) -> T:
        with translated(), anyio.fail_after(ANSWER_SECONDS):
            async with self._pool.connection() as connection:
                return await _drive(connection, work())

    async def _transact(self, work: Callable[[], Work[T]]) -> T:
        return await self._transact_within(ANSWER_SECONDS, _LIMITS, work)

    async def _transact_long(self, work: Callable[[], Work[T]]) -> T:
        return await self._transact_within(MIGRATE_SECONDS, _LONG_LIMITS, work)

    async def _transact_within(self, seconds: float, limits: str, work: Callable[[], Work[T]]) -> T:
        with translated(), anyio.fail_after(seconds, shield=True):
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(limits)
                result, moves, happened = await _drive(connection, self._guarded(self._correcting(work())))
        self._committed(moves, happened)
        return result

    def _correcting(self, work: Work[T]) -> Work[T]:
        result = yield from work
        yield from self._corrected()
        return result


async def _drive(connection: AsyncConnection[Any], work: Work[T]) -> T:
    rows: Rows | None = None
    while True:
        try:
            sql, values = work.send(rows)  # type: ignore[arg-type]  # a generator is begun with None
        except StopIteration as end:
            result: T = end.value
            return result
        cursor = await connection.execute(sql.replace("?", "%s"), values)
        rows = await cursor.fetchall() if cursor.description else []


@contextmanager
def translated() -> Iterator[None]:
    """Turn PostgreSQL's errors into ours, here and nowhere else; theirs can quote a password."""
    try:
        yield
    except (psycopg.Error, TimeoutError) as exc:
        raise _ours(exc) from None


@asynccontextmanager
async def open_postgres(
    url: str, *, clock: Callable[[], float] | None = None, machine: Machine | None = None
) -> AsyncIterator[PostgresJournal]:
    """Open a journal in PostgreSQL; its tables, in a schema of their own, are made and migrated here.

    Args:
        url: `postgresql://user:password@host/database`, with libpq's parameters, such as `sslmode`.
        clock: Answers Unix seconds, and is the journal's time, whatever the database's is; for tests.
        machine: The clocks by which the database's is watched else. Defaults to this machine's.

    Raises:
        JournalError: The database cannot be used.
    """
    secret = await _open_once(url)
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url,
        kwargs=_OPTIONS,
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=ANSWER_SECONDS * 0.8,  # before a transaction is given up, so that its error says which it was
        reconnect_timeout=CONNECT_SECONDS,
        check=AsyncConnectionPool.check_connection,
        name="kros-mcp",
        open=False,
    )
    async with pool:
        yield PostgresJournal(pool, secret, GivenTime(clock) if clock else SharedTime(machine or Machine()))


async def _open_once(url: str) -> bytes:
    """Prepare the journal, and give its secret.

    Not by the pool, which would try again and again, and say only that it could not.
    """
    with translated():
        with anyio.fail_after(CONNECT_SECONDS + ANSWER_SECONDS):
            connection = await AsyncConnection.connect(url, **_OPTIONS)
        async with connection:
            with anyio.fail_after(ANSWER_SECONDS):
                secret = await read_secret(connection)
            if secret is None:
                with anyio.fail_after(MIGRATE_SECONDS):
                    secret = await prepare(connection)
            return secret


def _ours(exc: Exception) -> JournalError:
    reason = next((words for kind, words in _REASONS if isinstance(exc, kind)), None)
    if isinstance(exc, TimeoutError):
        reason = "The journal's database did not answer in time; nothing can be spent."
    elif type(exc) is psycopg.OperationalError:  # a connection that was not made has no code, only words
        said = str(exc)
        told = next((told for words, told in _REFUSALS.items() if words in said), None)
        reason = f"The journal's database {told}; nothing can be spent." if told else reason
    error = JournalError(reason or "The journal cannot be used; nothing can be spent.")
    error.add_note(f"Cause: {type(exc).__name__} {getattr(exc, 'sqlstate', None) or ''}".rstrip())
    return error
