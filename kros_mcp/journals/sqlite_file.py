"""The journal's SQLite file: where it stands, how it is made and opened, what its errors mean.

The file is its owner's alone (mode 0600). Every commit stands in it, synchronously, before anything goes on.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from kros_mcp.errors import JournalError, KrosError
from kros_mcp.journals import journal_errors
from kros_mcp.journals.files import exists, link, new_beside, require_own_log, wal_of
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
ALTER TABLE operations ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN decided_through TEXT NOT NULL DEFAULT '';
CREATE INDEX watched ON operations (account, look_at) WHERE look_at IS NOT NULL;
CREATE TABLE operation_events (
    operation_id TEXT NOT NULL REFERENCES operations (id), number INTEGER NOT NULL, at REAL NOT NULL,
    move TEXT NOT NULL, by_whom TEXT NOT NULL, channel TEXT NOT NULL, words TEXT NOT NULL, changes TEXT NOT NULL,
    PRIMARY KEY (operation_id, number)
) STRICT
"""
_PROGRESS = """
CREATE TABLE progress (
    moves INTEGER NOT NULL, moved_at REAL NOT NULL, boot TEXT NOT NULL, boot_seconds REAL NOT NULL,
    boot_began REAL NOT NULL, ahead REAL NOT NULL, generation TEXT NOT NULL, restored_at REAL
) STRICT;
INSERT INTO progress SELECT 0, coalesce(max(max(
    created_at, coalesce(confirmed_at, 0), coalesce(claimed_at, 0), coalesce(sent_at, 0), coalesce(settled_at, 0)
)), 0), '', 0, 0, 0, lower(hex(randomblob(16))), NULL FROM operations
"""
_REQUEST_COUNTS = """
CREATE TABLE request_counts (
    hour INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, purpose TEXT NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (hour, key, kind, purpose)
) STRICT
"""
_ORGANIZATIONS = """
CREATE TABLE organizations (
    account TEXT NOT NULL, organization TEXT NOT NULL, issuer TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (account, issuer, key)
) STRICT;
CREATE INDEX spent_by_all ON operations (claimed_at, reserved_cents, action, state)
    WHERE action = 'buy' AND state IN ('sending', 'unknown', 'done')
"""
_KEPT_NUMBERS = """
CREATE TABLE owned_lists (
    account TEXT PRIMARY KEY, listed_at REAL, complete INTEGER NOT NULL DEFAULT 0,
    unreadable TEXT NOT NULL DEFAULT '[]', acted_at REAL NOT NULL DEFAULT 0, refreshed_at REAL NOT NULL DEFAULT 0,
    reader TEXT NOT NULL DEFAULT '', reader_until REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE owned_numbers (
    account TEXT NOT NULL, number_id TEXT NOT NULL, e164 TEXT NOT NULL, country TEXT, type TEXT, status TEXT,
    endpoint_id TEXT, allow_inbound INTEGER, allow_outbound INTEGER, setup_cents INTEGER, monthly_cents INTEGER,
    created_at TEXT, updated_at TEXT, currency TEXT, place INTEGER, priced_at REAL, dropped_at REAL NOT NULL,
    PRIMARY KEY (account, number_id)
) STRICT;
CREATE INDEX owned_by_number ON owned_numbers (account, e164)
"""
_SHOWN = """
ALTER TABLE operations ADD COLUMN shown_at REAL
"""
_REPEATS = "ALTER TABLE operations ADD COLUMN asked_again INTEGER NOT NULL DEFAULT 0"
_OUTBOX = """
CREATE TABLE outbox (
    id TEXT NOT NULL, destination TEXT NOT NULL, account TEXT NOT NULL, organization TEXT NOT NULL,
    operation_id TEXT NOT NULL, number INTEGER NOT NULL, type TEXT NOT NULL, at REAL NOT NULL,
    data TEXT NOT NULL, tries INTEGER NOT NULL, next_at REAL NOT NULL, delivered_at REAL,
    PRIMARY KEY (id, destination)
) STRICT;
CREATE INDEX undelivered ON outbox (destination, next_at) WHERE delivered_at IS NULL;
CREATE INDEX undelivered_of ON outbox (destination, operation_id, number) WHERE delivered_at IS NULL;
CREATE TABLE listeners (
    destination TEXT NOT NULL, account TEXT NOT NULL, organization TEXT NOT NULL, seen_at REAL NOT NULL,
    delivered_at REAL, PRIMARY KEY (destination, account)
) STRICT
"""
_BATCHES = """
ALTER TABLE operations ADD COLUMN items TEXT NOT NULL DEFAULT '[]';
ALTER TABLE operations ADD COLUMN batch TEXT NOT NULL DEFAULT '';
CREATE INDEX of_batch ON operations (batch) WHERE batch <> '';
CREATE INDEX batches ON operations (account, principal, action, created_at) WHERE items <> '[]'
"""
MIGRATIONS: tuple[str, ...] = (
    _BEGINNING,
    _LIMITS_AND_QUICKER_BOOKS,
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
HAS_PROGRESS = 3
"""The first version that writes down how far it has come."""


def open_file(path: Path | None) -> tuple[sqlite3.Connection, bytes]:
    """Open or create a journal for use from any thread, without implicit transactions.

    Args:
        path: The file; None is memory.

    Returns:
        The connection, and the journal's own secret.

    Raises:
        JournalError: The file cannot be used, is not a journal, or is one of a newer version; the code says which.
    """
    if path is None:
        with translated():
            connection = connect(":memory:")
            return connection, prepare(connection)
    path = real(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not exists(path):
            _create(path)
        if not os.access(path, os.W_OK) or not path.is_file():
            raise PermissionError
    except OSError as exc:
        raise JournalError(f"The journal {path} cannot be opened for writing; nothing can be spent.") from exc
    return _open_existing(path)


def open_file_to_read(path: Path) -> tuple[sqlite3.Connection, bytes]:
    """Open a journal that cannot be written; one of an earlier version is copied into memory and migrated there.

    Raises:
        JournalError: The file cannot be read, or is no whole journal that this version knows; the code says which.
    """
    with translated():
        connection = connect(address(path, "ro"))
        try:
            try:
                require_ours(connection, path)
            except sqlite3.OperationalError:  # a log cannot be read where none can be made: the file alone then
                connection.close()
                connection = connect(f"{address(path, 'ro')}&immutable=1")
                require_ours(connection, path)
            if connection.execute("PRAGMA user_version").fetchone()[0] < len(MIGRATIONS):
                with closing(connection) as earlier:
                    connection = connect(":memory:")
                    earlier.backup(connection)
            secret = prepare(connection)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection, secret


def real(path: Path) -> Path:
    """Follow the links that lead to a file, which stands, with what SQLite leaves beside it, where they end."""
    return Path(os.path.realpath(path))


def is_there(path: Path) -> bool:
    """Whether there is a file of that name.

    Raises:
        JournalError: That cannot be told, as of a folder that nobody but others may look into.
    """
    try:
        return exists(path)
    except OSError as exc:
        raise JournalError(f"The file {path} cannot be reached; nothing can be spent.") from exc


def beside(path: Path) -> tuple[Path, ...]:
    """Return the files that SQLite may keep beside a journal."""
    return tuple(path.with_name(path.name + end) for end in ("-journal", "-wal", "-shm"))


def require_never_there(path: Path) -> None:
    """Raise if something beside a journal that is not there shows that it was.

    SQLite would take it for the new file's, or somebody has moved the old one away.

    Raises:
        JournalError: It was there.
    """
    for left in beside(real(path)):
        if exists(left):
            raise journal_errors.gone(path, left)


def connect(name: str) -> sqlite3.Connection:
    """Connect to a file that is there, by its URI, or to memory."""
    return sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)


def address(path: Path, mode: str) -> str:
    """Write a file's URI, to be opened in a mode of SQLite's: `ro` or `rw`, neither of which creates it."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def _create(path: Path) -> None:
    """Build a journal under another name, and give it its own when it is whole; another process may be first."""
    require_never_there(path)
    made = new_beside(path)
    try:
        with translated(), closing(connect(address(made, "rw"))) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection)
        with suppress(FileExistsError):
            link(made, path)
    finally:
        made.unlink(missing_ok=True)


def _open_existing(path: Path) -> tuple[sqlite3.Connection, bytes]:
    if path.stat().st_size == 0:
        raise journal_errors.empty(path)
    require_own_log(path)
    has_log = wal_of(path) > 0
    with translated():
        connection = connect(address(path, "rw"))
    try:
        with translated():
            require_ours(connection, path)
            _make_private(path)
            if has_log and connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise journal_errors.not_its_log(path.with_name(f"{path.name}-wal"))
            _leave_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # what is pruned shall not stay readable in free pages
            return connection, prepare(connection)
    except KrosError:
        connection.close()
        raise


def _make_private(path: Path) -> None:
    """Close a journal to others: a backup that was put back may have opened it. Of another's file nothing is changed.

    Raises:
        JournalError: The mode cannot be set.
    """
    try:
        for file in (path, *beside(path)):
            with suppress(FileNotFoundError):
                file.chmod(0o600)
    except OSError as exc:
        raise JournalError(f"The journal {path} cannot be made private to its owner; nothing can be spent.") from exc


def journal_path(url: str | None) -> Path | None:
    """Return which file a journal URL names; None is memory."""
    if url == "sqlite://:memory:":
        return None
    return default_journal_path() if url is None else Path(url.removeprefix("sqlite:///"))


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """Return the network file system that a path lies on, where SQLite cannot keep processes apart; else nothing.

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
        raise _ours(exc) from exc


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Look before anything is written into somebody else's file.

    Raises:
        JournalError: It is not a whole journal that this version can read; the code says why.
    """
    connection.execute("BEGIN")
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        filled = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
    if not (application or version or filled):
        raise journal_errors.empty(path)
    if application != APPLICATION_ID:
        raise journal_errors.foreign()
    if version > len(MIGRATIONS):
        raise journal_errors.newer()
    needed = {"operations", "meta"} | ({"operation_events", "progress"} if version >= HAS_PROGRESS else set())
    needed |= {"owned_lists", "owned_numbers", "outbox", "listeners"} if version == len(MIGRATIONS) else set()
    if version == 0 or not needed <= tables:
        raise journal_errors.damaged()


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Let every commit stand in the file itself, so that the file alone has all that counts.

    SQLite's write-ahead log would have to be copied into the file after each commit; that takes as long, and does harm
    where several processes do it in the same moment (SQLite before 3.51.3). Until all processes of an earlier version
    have ended, their journal stays as it is.
    """
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = TRUNCATE")


def prepare(connection: sqlite3.Connection) -> bytes:
    """Bring the schema to this program's version, and read the secret.

    A journal that is up to date is only read, so that a process suspended in a transaction stops no start.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] < len(MIGRATIONS):
        _migrate(connection)
    found = connection.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
    if found is None or connection.execute("SELECT count(*) FROM progress").fetchone()[0] != 1:
        raise journal_errors.damaged()
    return bytes(found[0])


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


def _ours(exc: sqlite3.Error) -> JournalError:
    name = getattr(exc, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return journal_errors.damaged()
    reasons = {
        ("SQLITE_BUSY", "SQLITE_LOCKED"): "The journal is locked by another process; nothing can be spent until it "
        "lets go.",
        ("SQLITE_FULL",): "The journal's disk is full; nothing can be spent until there is room.",
        ("SQLITE_IOERR",): "The journal's disk fails, or has no room for more; nothing can be spent.",
        ("SQLITE_READONLY",): "The journal cannot be written; nothing can be spent.",
    }
    told = next((reason for names, reason in reasons.items() if name.startswith(names)), None)
    return JournalError(told or "The journal cannot be used; nothing can be spent.")
