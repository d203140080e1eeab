"""The journal's tables in PostgreSQL: how they are made, migrated and found fit for money."""

import secrets
from typing import Any

from psycopg import AsyncConnection

from kros_mcp.errors import JournalError
from kros_mcp.journals import journal_errors

SCHEMA = "kros_mcp"
LOCK = 0x6B726F73
"""The first key of every advisory lock that the journal takes; "kros"."""
CLAIMS_LOCK = LOCK + 1
"""The first key of the lock that all claims take, so that it is no account's."""

_BEGINNING = """
CREATE TABLE kros_mcp.operations (
    rowid BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT PRIMARY KEY, account TEXT NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL, e164 TEXT NOT NULL,
    request JSONB NOT NULL, quote JSONB NOT NULL,
    created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL, channel TEXT, asked_at DOUBLE PRECISION, wrong_codes INTEGER NOT NULL,
    confirmed_at DOUBLE PRECISION, confirmed_by TEXT NOT NULL, reason TEXT NOT NULL,
    claimed_at DOUBLE PRECISION, reserved_cents BIGINT NOT NULL, lease_until DOUBLE PRECISION, token INTEGER NOT NULL,
    sent_at DOUBLE PRECISION, settled_at DOUBLE PRECISION, charged TEXT NOT NULL, changed TEXT NOT NULL,
    error_code TEXT NOT NULL, message TEXT NOT NULL, next_step TEXT NOT NULL, number JSONB, note TEXT NOT NULL,
    settings_pending INTEGER NOT NULL, settings_superseded JSONB NOT NULL, accepted INTEGER NOT NULL,
    not_applied JSONB NOT NULL, checked_at DOUBLE PRECISION, seen_unsold_at DOUBLE PRECISION, limits JSONB NOT NULL
);
CREATE UNIQUE INDEX one_in_flight ON kros_mcp.operations (account, e164) WHERE state IN ('sending', 'unknown');
CREATE UNIQUE INDEX one_open ON kros_mcp.operations (account, principal, action, e164)
    WHERE state IN ('proposed', 'confirmed', 'sending', 'unknown');
CREATE INDEX by_number ON kros_mcp.operations (account, e164, created_at);
CREATE INDEX by_inventory ON kros_mcp.operations (account, (request ->> 'inventory_id'), created_at);
CREATE INDEX by_number_id ON kros_mcp.operations (account, (request ->> 'number_id'), created_at);
CREATE INDEX by_time ON kros_mcp.operations (created_at, rowid);
CREATE INDEX by_account ON kros_mcp.operations (account, created_at, rowid);
CREATE INDEX spent ON kros_mcp.operations (account, claimed_at) INCLUDE (principal, reserved_cents)
    WHERE action = 'buy' AND state IN ('sending', 'unknown', 'done');
CREATE INDEX settled ON kros_mcp.operations (account, settled_at) WHERE action = 'buy' AND state = 'done';
CREATE INDEX bought ON kros_mcp.operations (account, e164, settled_at) WHERE action = 'buy' AND state = 'done';
CREATE INDEX released ON kros_mcp.operations (account, e164, settled_at) WHERE action = 'release' AND state = 'done';
CREATE INDEX due ON kros_mcp.operations (account)
    WHERE state IN ('confirmed', 'sending', 'unknown') OR settings_pending = 1;
CREATE TABLE kros_mcp.meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL)
"""
_PATIENCE = (
    "SELECT set_config('lock_timeout', '10000', true), set_config('idle_in_transaction_session_timeout', '5000', true)"
)
"""A process that freezes while it migrates is ended before those that wait for it give up."""
_EVENTS_AND_LOOKS = """
ALTER TABLE kros_mcp.operations
    ADD COLUMN snapshot JSONB, ADD COLUMN look_at DOUBLE PRECISION, ADD COLUMN looks INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN corrected_at DOUBLE PRECISION,
    ADD COLUMN decided_by TEXT NOT NULL DEFAULT '', ADD COLUMN decided_through TEXT NOT NULL DEFAULT '';
CREATE INDEX watched ON kros_mcp.operations (account, look_at) WHERE look_at IS NOT NULL;
CREATE TABLE kros_mcp.operation_events (
    operation_id TEXT NOT NULL REFERENCES kros_mcp.operations (id), number INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL, move TEXT NOT NULL, by_whom TEXT NOT NULL, channel TEXT NOT NULL,
    words TEXT NOT NULL, changes JSONB NOT NULL, PRIMARY KEY (operation_id, number)
)
"""
_PROGRESS = """
CREATE TABLE kros_mcp.progress (
    moves BIGINT NOT NULL, moved_at DOUBLE PRECISION NOT NULL, boot TEXT NOT NULL,
    boot_seconds DOUBLE PRECISION NOT NULL, boot_began DOUBLE PRECISION NOT NULL, ahead DOUBLE PRECISION NOT NULL,
    generation TEXT NOT NULL, restored_at DOUBLE PRECISION
);
INSERT INTO kros_mcp.progress SELECT 0, coalesce(max(
    greatest(created_at, confirmed_at, claimed_at, sent_at, settled_at)
), 0), '', 0, 0, 0, gen_random_uuid()::text, NULL FROM kros_mcp.operations
"""
_REQUEST_COUNTS = """
CREATE TABLE kros_mcp.request_counts (
    hour BIGINT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, purpose TEXT NOT NULL, requests BIGINT NOT NULL,
    PRIMARY KEY (hour, key, kind, purpose)
)
"""
_ORGANIZATIONS = """
CREATE TABLE kros_mcp.organizations (
    account TEXT NOT NULL, organization TEXT NOT NULL, issuer TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (account, issuer, key)
);
CREATE INDEX spent_by_all ON kros_mcp.operations (claimed_at) INCLUDE (reserved_cents)
    WHERE action = 'buy' AND state IN ('sending', 'unknown', 'done')
"""
_KEPT_NUMBERS = """
CREATE TABLE kros_mcp.owned_lists (
    account TEXT PRIMARY KEY, listed_at DOUBLE PRECISION, complete INTEGER NOT NULL DEFAULT 0,
    unreadable TEXT NOT NULL DEFAULT '[]', acted_at DOUBLE PRECISION NOT NULL DEFAULT 0,
    refreshed_at DOUBLE PRECISION NOT NULL DEFAULT 0,
    reader TEXT NOT NULL DEFAULT '', reader_until DOUBLE PRECISION NOT NULL DEFAULT 0
);
CREATE TABLE kros_mcp.owned_numbers (
    account TEXT NOT NULL, number_id TEXT NOT NULL, e164 TEXT NOT NULL, country TEXT, type TEXT, status TEXT,
    endpoint_id TEXT, allow_inbound INTEGER, allow_outbound INTEGER, setup_cents BIGINT, monthly_cents BIGINT,
    created_at TEXT, updated_at TEXT, currency TEXT, place INTEGER, priced_at DOUBLE PRECISION,
    dropped_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (account, number_id)
);
CREATE INDEX owned_by_number ON kros_mcp.owned_numbers (account, e164)
"""
_SHOWN = """
ALTER TABLE kros_mcp.operations ADD COLUMN shown_at DOUBLE PRECISION
"""
_REPEATS = "ALTER TABLE kros_mcp.operations ADD COLUMN asked_again INTEGER NOT NULL DEFAULT 0"
_OUTBOX = """
CREATE TABLE kros_mcp.outbox (
    id TEXT NOT NULL, destination TEXT NOT NULL, account TEXT NOT NULL, organization TEXT NOT NULL,
    operation_id TEXT NOT NULL, number INTEGER NOT NULL, type TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
    data TEXT NOT NULL, tries INTEGER NOT NULL, next_at DOUBLE PRECISION NOT NULL, delivered_at DOUBLE PRECISION,
    PRIMARY KEY (id, destination)
);
CREATE INDEX undelivered ON kros_mcp.outbox (destination, next_at) WHERE delivered_at IS NULL;
CREATE INDEX undelivered_of ON kros_mcp.outbox (destination, operation_id, number) WHERE delivered_at IS NULL;
CREATE TABLE kros_mcp.listeners (
    destination TEXT NOT NULL, account TEXT NOT NULL, organization TEXT NOT NULL, seen_at DOUBLE PRECISION NOT NULL,
    delivered_at DOUBLE PRECISION, PRIMARY KEY (destination, account)
)
"""
_BATCHES = """
ALTER TABLE kros_mcp.operations ADD COLUMN items JSONB NOT NULL DEFAULT '[]';
ALTER TABLE kros_mcp.operations ADD COLUMN batch TEXT NOT NULL DEFAULT '';
CREATE INDEX of_batch ON kros_mcp.operations (batch) WHERE batch <> '';
CREATE INDEX batches ON kros_mcp.operations (account, principal, action, created_at) WHERE items <> '[]'
"""
MIGRATIONS: tuple[str, ...] = (
    _BEGINNING,
    f"{_EVENTS_AND_LOOKS};{_PROGRESS}",
    _REQUEST_COUNTS,
    _ORGANIZATIONS,
    _KEPT_NUMBERS,
    _SHOWN,
    _REPEATS,
    _OUTBOX,
    _BATCHES,
)
"""The first leads to version 1, and so on. An entry that journals may have run is never changed: append another."""


async def read_secret(connection: AsyncConnection[Any]) -> bytes | None:
    """Read the secret of a journal that is up to date, without writing; None if it has to be prepared.

    Raises:
        JournalError: The journal is of a newer version, or the database would lose what it has confirmed.
    """
    for name in ("fsync", "synchronous_commit"):
        [value] = await _row(connection, f"SELECT current_setting('{name}')")
        if value == "off":
            raise JournalError(
                f"The journal's database has {name} off, so a crash could lose what it confirmed; nothing can be spent."
            )
    return await _secret(connection) if await _version(connection) == len(MIGRATIONS) else None


async def prepare(connection: AsyncConnection[Any]) -> bytes:
    """Bring the tables to this program's version, one process at a time, and read the journal's secret."""
    async with connection.transaction():
        await connection.execute(_PATIENCE)
        await connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK,))
        version = await _version(connection)
        if version == 0:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            await connection.execute(
                f"CREATE TABLE {SCHEMA}.migrations (number INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)"
            )
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            for statement in migration.split(";"):
                await connection.execute(statement)
            await connection.execute(
                f"INSERT INTO {SCHEMA}.migrations VALUES (%s, now())",  # noqa: S608 - a constant
                (number,),
            )
        if version == 0:
            await connection.execute(
                f"INSERT INTO {SCHEMA}.meta VALUES ('secret', %s)",  # noqa: S608 - a constant
                (secrets.token_bytes(32),),
            )
        return await _secret(connection)


async def _secret(connection: AsyncConnection[Any]) -> bytes:
    found = await _row(connection, f"SELECT value FROM {SCHEMA}.meta WHERE name = 'secret'")  # noqa: S608
    if not found:
        raise journal_errors.damaged()
    return bytes(found[0])


async def _version(connection: AsyncConnection[Any]) -> int:
    # Not to_regclass: having said no once, it may say no again although another session has made the table since.
    [tables] = await _row(
        connection,
        f"SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = '{SCHEMA}' AND tablename = 'migrations'",  # noqa: S608
    )
    if not tables:
        return 0
    [version] = await _row(connection, f"SELECT coalesce(max(number), 0) FROM {SCHEMA}.migrations")  # noqa: S608
    if version > len(MIGRATIONS):
        raise journal_errors.newer()
    return int(version)


async def _row(connection: AsyncConnection[Any], sql: str) -> tuple[Any, ...]:
    row = await (await connection.execute(sql)).fetchone()
    return tuple(row or ())
