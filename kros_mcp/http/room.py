"""How many connections this process has file descriptors for."""

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass

if sys.platform != "win32":  # which has no such limit
    import resource

logger = logging.getLogger(__name__)

MOST_BACKLOG = 1024
_OTHER_FILES = 256
"""The journal's, those to KrosAI and to an issuer, and a log's."""


@dataclass(frozen=True)
class Room:
    """Connections that may be open, and those that may wait to be accepted: all of them are accepted at once."""

    connections: int
    backlog: int


def room_for(connections: int) -> Room:
    """Raise the limit of open files as far as so many connections need and the system permits.

    Where it permits too few, there are fewer connections: one that cannot be accepted would be reset, and everybody
    with it.
    """
    if sys.platform == "win32":
        return Room(connections, MOST_BACKLOG)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + MOST_BACKLOG + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):  # macOS permits less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Room(connections, MOST_BACKLOG)
    backlog = min(MOST_BACKLOG, soft // 4)
    room = Room(max(1, min(connections, soft - backlog - _OTHER_FILES)), backlog)
    logger.warning(
        "KROS_MAX_CONNECTIONS is %s, and there is room for %s: the system limits open files (ulimit -n) to %s",
        connections,
        room.connections,
        soft,
    )
    return room
