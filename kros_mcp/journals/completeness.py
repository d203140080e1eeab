"""What is written when a journal was put back from a copy, and what is asked of it until it is complete again."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

import secrets
from collections.abc import Sequence

from kros_mcp.journals import generation, journal_errors
from kros_mcp.journals.rows import Work

_COMPLETE = "complete:"
"""Begins the names, in `meta`, of the accounts whose purchases since the copy have been entered."""
_YES = b"\1"
"""The value there; a later restore replaces it by the time after which they may be missing again, as text."""


def begin_anew(progress_table: str, meta: str, copied_at: float) -> Work[None]:
    """Mark a journal as restored: no process that used it before goes on, and no account may spend.

    What an account lacked in the copy already it still lacks.
    """
    sql = f"UPDATE {progress_table} SET restored_at = coalesce(restored_at, ?), generation = ?"
    yield sql, (copied_at, secrets.token_hex(16))
    since = repr(copied_at).encode()
    yield f"UPDATE {meta} SET value = ? WHERE name LIKE ? AND value = ?", (since, f"{_COMPLETE}%", _YES)


def last_move(table: str) -> str:
    """Write the statement that reads the latest times of a journal's operations, one of each kind."""
    times = ", ".join(f"max({name}_at)" for name in ("created", "confirmed", "claimed", "sent", "settled"))
    return f"SELECT {times} FROM {table}"


def written_at(times: Sequence[float | None], moved_at: float, ahead: float) -> float:
    """Return when a journal's operations moved last, on the clock of then: what came after may be missing.

    Not when it was written last: whoever only looks into a copy writes down that a new boot has begun.

    Args:
        times: As `last_move` reads them.
        moved_at: When it was written last, for a journal without operations.
        ahead: What the clock was ahead of the journal's time.
    """
    return max((at for at in times if at is not None), default=moved_at) + min(0.0, ahead)


def last_written(table: str, progress_table: str) -> Work[float]:
    """Return when a journal's operations moved last."""
    [times] = yield last_move(table), ()
    come_so_far = yield from generation.read(progress_table)
    return written_at(times, come_so_far.moved_at, come_so_far.ahead)


def lacking_since(progress_table: str, meta: str, account: str) -> Work[float | None]:
    """Return after which time an account's purchases may be missing; None if none are."""
    come_so_far = yield from generation.read(progress_table)
    if come_so_far.restored_at is None:
        return None
    rows = yield f"SELECT value FROM {meta} WHERE name = ?", (_COMPLETE + account,)
    if not rows:
        return come_so_far.restored_at
    value = bytes(rows[0][0])
    return None if value == _YES else float(value)


def require_complete(progress_table: str, meta: str, account: str) -> Work[None]:
    """Raise if an account's purchases may be missing.

    Raises:
        JournalError: They have to be entered first; nothing is spent.
    """
    if (yield from lacking_since(progress_table, meta, account)) is not None:
        raise journal_errors.restored()


def complete(meta: str, account: str) -> Work[None]:
    """Note that what an account has bought since is entered."""
    sql = f"INSERT INTO {meta} VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    yield sql, (_COMPLETE + account, _YES)
