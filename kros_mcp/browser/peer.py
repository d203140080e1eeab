"""Who is at the other end of a connection on this machine."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_UID_COLUMN = 7
_ROOT = 0
_MAPPED = "0000000000000000FFFF0000"
"""Before an IPv4 address in the table of IPv6 sockets, from which one can connect to IPv4 as well."""


def is_another_users(client: tuple[str, int], server: tuple[str, int], tables: Sequence[Path] = _TABLES) -> bool:
    """Whether a connection comes from a program of another user of this machine; false where that is not known.

    A browser's command line shows other users the one-use path, in the moment before the browser has opened it.

    Args:
        client: The address and port of the other end, IPv4.
        server: Ours.
        tables: The kernel's tables of connections; Linux alone has them.
    """
    if not sys.platform.startswith("linux"):
        return False
    ours, theirs = _as_in_table(server), _as_in_table(client)
    wanted = {(theirs, ours), (_MAPPED + theirs, _MAPPED + ours)}
    users = {uid for table in tables for ends, uid in _connections(table) if ends in wanted}
    return not users <= {os.getuid(), _ROOT}


def _connections(table: Path) -> Iterator[tuple[tuple[str, str], int]]:
    """Read each connection's ends, its own first, and whose it is; none where there is no such table."""
    with suppress(OSError, ValueError, IndexError), table.open(encoding="ascii") as lines:
        next(lines, None)  # the names of the columns
        for line in lines:
            columns = line.split()
            yield (columns[1], columns[2]), int(columns[_UID_COLUMN])


def _as_in_table(address: tuple[str, int]) -> str:
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"
