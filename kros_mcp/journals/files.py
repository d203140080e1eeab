"""Files that get their name when they are whole, and what SQLite leaves beside a file that it has not closed."""

import os
import struct
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from kros_mcp.journals import journal_errors

SETTLING_SECONDS = 1.0
_HEADER_BYTES = 32
_MAGIC = bytes.fromhex("d9d505f920a163d7")
_CHANGES = slice(24, 28)
"""Where the first page counts the commits."""


def exists(path: Path) -> bool:
    """Whether there is a file of that name; `Path.exists` says no of one that cannot be reached, as of Python 3.14.

    Raises:
        OSError: That cannot be told.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no file has a name with a null byte
        return False
    return True


def new_beside(path: Path) -> Path:
    """Make an empty file in the folder of another one, readable by its owner alone, under a name of its own."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(number)
    return Path(name)


def link(made: Path, path: Path) -> None:
    """Give a file its name, for good.

    Raises:
        FileExistsError: There is a file of that name; it is left as it is.
        OSError: The folder does not let it.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without hard links
        if exists(path):  # on Windows renaming would see that, too
            raise FileExistsError(path) from None
        made.rename(path)
    if sys.platform != "win32":  # which opens no folders
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def wal_of(path: Path) -> int:
    """Return how long the write-ahead log beside a file is, in bytes; earlier versions of this program kept one."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def require_own_log(path: Path) -> None:
    """Raise if a log beside a file was left by another file of that name: SQLite would apply it to this one.

    A process that is killed in the middle of a commit leaves such a log; an older copy may then have been put in the
    place of the file.

    Raises:
        JournalError: They do not belong together.
    """
    if wal_of(path) and _read(path, _HEADER_BYTES)[18:20] == b"\1\1":
        raise journal_errors.not_its_log(path.with_name(f"{path.name}-wal"))
    log = path.with_name(f"{path.name}-journal")
    give_up_at = time.monotonic() + SETTLING_SECONDS
    while not _belongs(path, log):
        if time.monotonic() >= give_up_at:  # else another process was writing while we looked
            raise journal_errors.not_its_log(log)
        time.sleep(0.02)


def _belongs(path: Path, log: Path) -> bool:
    """Whether a file is as the log has its first page, or one commit further; true where the log does not say."""
    before = _first_page_in(log)
    if before is None:
        return True
    counted, now = (int.from_bytes(page[_CHANGES], "big") for page in (before, _read(path, _HEADER_BYTES)))
    return now in {counted, (counted + 1) & 0xFFFFFFFF}


def _first_page_in(log: Path) -> bytes | None:
    """Find the file's first page as it was before the commit that a log undoes (sqlite.org/fileformat.html)."""
    content = _read(log)
    if len(content) < _HEADER_BYTES or content[:8] != _MAGIC:
        return None
    count, _, _, sector, page = struct.unpack(">5I", content[8:28])
    if not 512 <= page <= 65_536 or not sector:  # noqa: PLR2004 - the sizes that SQLite knows
        return None
    for number in range(min(count, len(content) // page)):
        at = sector + number * (page + 8)
        if content[at : at + 4] == b"\0\0\0\1":
            return content[at + 4 : at + 4 + page]
    return None


def _read(path: Path, length: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except FileNotFoundError:
        return b""
