"""What is written when a journal was put back from a copy, and what is asked of it until it is complete again."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

import secrets

from kros_mcp.operations.journals import progress, refused
from kros_mcp.operations.journals.rows import Work

_COMPLETE = "complete:"
"""Begins the names, in `meta`, of the accounts whose purchases since the copy have been entered."""


def begin_anew(progress_table: str, meta: str) -> Work[None]:
    """Mark a journal as restored: no process that used it before goes on, and no account may spend."""
    sql = f"UPDATE {progress_table} SET restored_at = moved_at, generation = ?"
    yield sql, (secrets.token_hex(16),)
    yield f"DELETE FROM {meta} WHERE name LIKE ?", (f"{_COMPLETE}%",)


def lacking_since(progress_table: str, meta: str, account: str) -> Work[float | None]:
    """Say after which time an account's purchases may be missing; None if none are."""
    come_so_far = yield from progress.read(progress_table)
    if come_so_far.restored_at is None:
        return None
    rows = yield f"SELECT 1 FROM {meta} WHERE name = ?", (_COMPLETE + account,)
    return None if rows else come_so_far.restored_at


def require_complete(progress_table: str, meta: str, account: str) -> Work[None]:
    """Raise if an account's purchases may be missing.

    Raises:
        JournalError: They have to be entered first; nothing is spent.
    """
    if (yield from lacking_since(progress_table, meta, account)) is not None:
        raise refused.restored()


def complete(meta: str, account: str) -> Work[None]:
    """Note that what an account has bought since is entered."""
    yield f"INSERT INTO {meta} VALUES (?, ?)", (_COMPLETE + account, b"\1")
