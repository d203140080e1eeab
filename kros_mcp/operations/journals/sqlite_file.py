"""The journal's SQLite file: where it stands, how it is opened, what its errors mean.

The file is its owner's alone (mode 0600); WAL mode, every commit synchronous.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kros_mcp.errors import JournalError, KrosError
from kros_mcp.settings import default_journal_path

APPLICATION_ID = 0x6B726F73  # "kros"
BUSY_SECONDS = 2.0
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"})

_BEGINNING = """
CREATE TABLE operations (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL, e164 TEXT NOT NULL,
    request TEXT NOT NULL, quote TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL,
    state TEXT NOT NULL, channel TEXT, asked_at REAL, wrong_codes INTEGER NOT NULL,
    confirmed_at REAL, confirmed_by TEXT NOT NULL, reason TEXT NOT NULL,
    claimed_at REAL, reserved_cents INTEGER NOT NULL, lease_until REAL, token INTEGER NOT NULL,
    sent_at REAL, settled_at REAL, charged TEXT NOT NULL, changed TEXT NOT NULL,
    error_code TEXT NOT NULL, message TEXT NOT NULL, next_step TEXT NOT NULL, number TEXT, note TEXT NOT NULL,
    settings_pending INTEGER NOT NULL, settings_superseded TEXT NOT NULL, accepted INTEGER NOT NULL,
    not_applied TEXT NOT NULL, checked_at REAL, seen_unsold_at REAL
) STRICT;
CREATE UNIQUE INDEX one_in_flight ON operations (account, e164) WHERE state IN ('sending', 'unknown');
CREATE UNIQUE INDEX one_open ON operations (account, principal, action, e164)
    WHERE state IN ('proposed', 'confirmed', 'sending', 'unknown');
CREATE INDEX by_number ON operations (account, e164, created_at);
CREATE INDEX by_inventory ON operations (account, json_extract(request, '$.inventory_id'), created_at);
CREATE INDEX by_number_id ON operations (account, json_extract(request, '$.number_id'), created_at);
CREATE INDEX by_time ON operations (created_at);
CREATE INDEX spent ON operations (account, claimed_at) WHERE action = 'buy' AND state IN ('sending', 'unknown', 'done');
CREATE INDEX settled ON operations (account, settled_at) WHERE action = 'buy' AND state = 'done';
CREATE INDEX due ON operations (account) WHERE state IN ('confirmed', 'sending', 'unknown') OR settings_pending = 1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT
"""
_LIMITS_AND_QUICKER_BOOKS = """
ALTER TABLE operations ADD COLUMN limits TEXT NOT NULL DEFAULT '{"allowed_countries": []}';
DROP INDEX spent;
CREATE INDEX spent ON operations (account, claimed_at, principal, reserved_cents, action, state)
    WHERE action = 'buy' AND state IN ('sending', 'unknown', 'done');
DROP INDEX due;
CREATE INDEX due ON operations (account, created_at)
    WHERE state IN ('confirmed', 'sending', 'unknown') OR settings_pending = 1;
CREATE INDEX bought ON operations (account, e164, settled_at) WHERE action = 'buy' AND state = 'done';
CREATE INDEX released ON operations (account, e164, settled_at, action, state)
    WHERE action = 'release' AND state = 'done';
CREATE INDEX by_account ON operations (account, created_at)
"""
_EVENTS_AND_LOOKS = """
ALTER TABLE operations ADD COLUMN snapshot TEXT;
ALTER TABLE operations ADD COLUMN look_at REAL;
ALTER TABLE operations ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE operations ADD COLUMN corrected_at REAL;
CREATE INDEX watched ON operations (account, look_at) WHERE look_at IS NOT NULL;
CREATE TABLE operation_events (
    operation_id TEXT NOT NULL REFERENCES operations (id), number INTEGER NOT NULL, at REAL NOT NULL,
    move TEXT NOT NULL, by_whom TEXT NOT NULL, channel TEXT NOT NULL, words TEXT NOT NULL, changes TEXT NOT NULL,
    PRIMARY KEY (operation_id, number)
) STRICT
"""
MIGRATIONS: tuple[str, ...] = (_BEGINNING, _LIMITS_AND_QUICKER_BOOKS, _EVENTS_AND_LOOKS)
"""By the number of the version that each leads to, from 1; one that was published is never changed."""


def open_file(path: Path | None) -> tuple[sqlite3.Connection, bytes]:
    """Open or create a journal for use from any thread, without implicit transactions.

    Args:
        path: The file; None is memory.

    Returns:
        The connection, and the journal's own secret.

    Raises:
        JournalError: The file cannot be used, is not a journal, or is one of a newer version.
    """
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                with suppress(FileNotFoundError):  # a backup that was put back may have opened them to others
                    file.chmod(0o600)
    except OSError as exc:
        raise JournalError(f"The journal {path} cannot be opened for writing; nothing can be spent.") from exc
    with translated():
        connection = sqlite3.connect(
            path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    try:
        with translated():
            _require_ours(connection)
            _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            return connection, _prepare_schema(connection)
    except KrosError:
        connection.close()
        raise


def journal_path(url: str | None) -> Path | None:
    """Say which file a journal URL names; None is memory."""
    if url == "sqlite://:memory:":
        return None
    return default_journal_path() if url is None else Path(url.removeprefix("sqlite:///"))


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """Name the network file system that a path lies on, where SQLite cannot keep processes apart; else nothing.

    Args:
        path: The journal's file.
        mounts: As in /proc/self/mounts. Defaults to this machine's, where it tells.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text(errors="replace") if _MOUNTS.exists() else ""
    resolved = path.resolve()
    deepest, kind = -1, ""
    for line in mounts.splitlines():
        _, where, this_kind, *_ = line.split()
        point = Path(where.replace("\\040", " "))
        if resolved.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), this_kind
    return kind if kind in _NETWORK else ""


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into ours, here and nowhere else."""
    try:
        yield
    except sqlite3.Error as exc:
        raise JournalError(_reason(exc)) from exc


def _require_ours(connection: sqlite3.Connection) -> None:
    """Look before anything is written into somebody else's file; at one moment, as others may be creating it."""
    connection.execute("BEGIN")
    try:
        filled = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (application or version or filled):
        raise JournalError("KROS_JOURNAL_URL names a database that is not a journal of kros-mcp; name another file.")
    if version > len(MIGRATIONS):
        raise JournalError(
            "The journal was written by a newer kros-mcp; update this one. Another journal would know of no spending."
        )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Wait by hand while another process does the same: SQLite's own timeout does not cover it."""
    give_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.02)
        else:
            return


def _prepare_schema(connection: sqlite3.Connection) -> bytes:
    """Bring the schema to this program's version, and read the secret.

    A journal that is up to date is only read, so that a process suspended in a transaction stops no start.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] < len(MIGRATIONS):
        _migrate(connection)
    return bytes(connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";"):
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _reason(exc: sqlite3.Error) -> str:
    name = getattr(exc, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "The journal is locked by another process; nothing can be spent until it lets go."
    if name.startswith("SQLITE_FULL"):
        return "The journal's disk is full; nothing can be spent until there is room."
    if name.startswith("SQLITE_IOERR"):
        return "The journal's disk fails, or has no room for more; nothing can be spent."
    if name.startswith("SQLITE_READONLY"):
        return "The journal cannot be written; nothing can be spent."
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return "The journal is damaged or not a journal; nothing can be spent."
    return "The journal cannot be used; nothing can be spent."
