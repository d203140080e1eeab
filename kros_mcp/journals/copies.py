"""Copies of a journal's file: taken while servers run, and put back."""

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from kros_mcp.errors import InvalidArgumentError, JournalError, KrosError
from kros_mcp.journals import completeness, journal_errors
from kros_mcp.journals.files import exists, link, new_beside
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.journals.sqlite_file import (
    HAS_PROGRESS,
    address,
    beside,
    connect,
    is_there,
    real,
    require_ours,
    translated,
)
from kros_mcp.operations.events import By
from kros_mcp.times import utc

_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Copied:
    """What a copy holds.

    `last_at` is the time of the last operation that was asked for; None if there is none. `written_at` is when its
    operations moved last, on the clock of then.
    """

    operations: int
    size_bytes: int
    last_at: float | None
    written_at: float


def look_at(path: Path) -> Copied:
    """Return what a journal holds, without changing it.

    Raises:
        JournalError: It is not a whole journal that this version can read.
    """
    with translated(), closing(_read(path)) as connection:
        return _whole(connection, path)


def back_up(path: Path, to: Path) -> Copied:
    """Copy a journal to a new file, whole as it stands at one moment, for its owner alone.

    Raises:
        JournalError: It cannot be read, or is none.
        KrosError: There is a file of that name already, or none can be written there.
    """
    made: Path | None = None
    try:
        made, copied = _copy(path, to)
        link(made, to)
    except FileExistsError:
        raise KrosError(
            f"{to} is there already and was left as it is.", code="FILE_EXISTS", next_step="Name a new file."
        ) from None
    except OSError as exc:
        raise InvalidArgumentError(f"{to} cannot be written: {os.strerror(exc.errno or 0)}.", next_step="") from None
    finally:
        if made is not None:
            made.unlink(missing_ok=True)
    return copied


async def put_back(copy: Path, path: Path, by: By) -> tuple[Path | None, int]:
    """Put a copy in the place of a journal, marked as restored; what was there is kept beside it.

    Args:
        copy: A whole journal; it stays as it is.
        path: Where the journal is to be.
        by: Who does it, for the events of what that ends.

    Returns:
        Where what was there is now, if anything was; and how many operations the restore has ended.

    Raises:
        JournalError: The copy is not a whole journal, or the journal's folder cannot be written.
    """
    path = real(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made, copied = _copy(copy, path)
        try:
            async with open_sqlite(f"sqlite:///{made}") as journal:
                ended = await journal.mark_restored(copied_at=copied.written_at, by=by)
                now = await journal.now()
            kept = _set_aside(path, utc(now).replace(":", "-"))
            made.replace(path)
        finally:
            for left in (made, *beside(made)):
                left.unlink(missing_ok=True)
    except OSError as exc:
        raise JournalError(
            f"The journal {path} cannot be replaced, or another process uses it; it is as it was. Nothing was restored."
        ) from exc
    return kept, ended


def users(path: Path) -> tuple[int, ...]:
    """Return the processes that have a file open, as far as this machine tells: on Linux, those of this user."""
    found = set()
    wanted = str(path.resolve())
    for opened in _PROCESSES.glob("[0-9]*/fd/*"):
        process = int(opened.parts[-3])
        with suppress(OSError):
            if process != os.getpid() and str(opened.readlink()) == wanted:
                found.add(process)
    return tuple(sorted(found))


def _read(path: Path) -> sqlite3.Connection:
    if not is_there(path) or not path.is_file():
        raise InvalidArgumentError(f"There is no file {path}.", next_step="")
    if path.stat().st_size == 0:
        raise journal_errors.empty(path)
    connection = connect(address(path, "ro"))
    try:
        require_ours(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(path: Path, to: Path) -> tuple[Path, Copied]:
    """Copy a whole journal to a new file beside another, under a name of its own.

    Servers that write wait meanwhile; so it is the copy that is examined, and that reaches the disk afterwards.
    """
    with translated(), closing(_read(path)) as source:
        made = new_beside(to)
        try:
            with closing(connect(address(made, "rw"))) as target:
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
                copied = _whole(target, made)
            with made.open("rb+") as file:
                os.fsync(file.fileno())
        except BaseException:
            made.unlink()
            raise
    return made, copied


def _whole(connection: sqlite3.Connection, path: Path) -> Copied:
    if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        raise journal_errors.damaged()
    [(operations, last_at)] = connection.execute("SELECT count(*), max(created_at) FROM operations")
    [times] = connection.execute(completeness.last_move("operations"))
    moved_at, ahead = 0.0, 0.0
    if connection.execute("PRAGMA user_version").fetchone()[0] >= HAS_PROGRESS:
        rows = connection.execute("SELECT moved_at, ahead FROM progress").fetchall()
        if len(rows) != 1:
            raise journal_errors.damaged()
        [(moved_at, ahead)] = rows
    written_at = completeness.written_at(times, moved_at, ahead)
    return Copied(operations, path.stat().st_size, last_at, written_at)


def _set_aside(path: Path, when: str) -> Path | None:
    """Give what is there another name, with all that SQLite has left beside it; the first name stays until the last."""
    name = f"{path.name}.before-restore-{when}"
    kept = next(each for number in count(1) if not exists(each := _numbered(path, name, number)))
    is_there = exists(path)
    if is_there:
        link(path, kept)
    for left, end in zip(beside(path), ("-journal", "-wal", "-shm"), strict=True):
        if exists(left) and left.stat().st_size == 0:
            left.unlink()
        elif exists(left):
            left.rename(kept.with_name(kept.name + end))
    return kept if is_there else None


def _numbered(path: Path, name: str, number: int) -> Path:
    return path.with_name(name if number == 1 else f"{name}-{number}")
