"""The room that deleted operations leave in a journal's file, and its return to the disk."""

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kros_mcp.journals.copies import users
from kros_mcp.journals.sqlite_file import address, connect, require_ours, translated


@dataclass(frozen=True)
class Space:
    """How large a file is and how much of it is free, in bytes; `freed` is what was given back just now."""

    size: int
    free: int
    freed: int = 0


def is_free(path: Path) -> bool:
    """Whether no other process has a journal open; false where this machine does not tell."""
    return sys.platform == "linux" and not users(path)


def look(path: Path) -> Space:
    """Return how much of a file is free; new operations take that first.

    Raises:
        JournalError: It cannot be read.
    """
    with translated(), closing(connect(address(path, "ro"))) as connection:
        require_ours(connection, path)
        page, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "freelist_count"))
    return Space(path.stat().st_size, page * free)


def give_back(path: Path) -> Space:
    """Write a file anew without what is free in it; whoever else writes meanwhile waits, and fails after two seconds.

    It stays the same file to those that have it open.

    Raises:
        JournalError: Another process uses it, or the disk has no room for a second one; it is as it was.
    """
    before = path.stat().st_size
    with translated(), closing(connect(address(path, "rw"))) as connection:
        require_ours(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("VACUUM")
    after = look(path)
    return Space(after.size, after.free, before - after.size)
