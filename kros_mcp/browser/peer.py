"""Who is at the other end of a connection on this machine."""

import os
import socket
import sys
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_STATE_COLUMN_UID = 7
_ROOT = 0


def is_another_users(client: tuple[str, int], server: tuple[str, int], table: Path = _TABLE) -> bool:
    """Whether a connection comes from a program of another user of this machine; false where that is not known.

    A browser's command line shows other users the one-use path, in the moment before the browser has opened it.

    Args:
        client: The address and port of the other end, IPv4.
        server: Ours.
        table: The kernel's table of connections; Linux alone has one.
    """
    if not sys.platform.startswith("linux"):
        return False
    wanted = [_as_in_table(client), _as_in_table(server)]
    try:
        with table.open(encoding="ascii") as lines:
            for line in lines:
                columns = line.split()
                if columns[1:3] == wanted:
                    return int(columns[_STATE_COLUMN_UID]) not in {os.getuid(), _ROOT}
    except (OSError, ValueError, IndexError):
        pass
    return False


def _as_in_table(address: tuple[str, int]) -> str:
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"
